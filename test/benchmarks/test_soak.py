"""The soak's verdicts, on made-up runs; the run itself takes half an hour (benchmarks/soak.py)."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.replay.identity import Event
from depth_retrofit_ros.ros.replay.live_run import RunResult
from depth_retrofit_ros.ros.replay.player import Playback
from depth_retrofit_ros.ros.replay.recorder import Recording
from test.paths import ROOT
from test.scripts import load_script

PATH = ROOT / "benchmarks" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    return load_script(PATH)


def memory(soak: ModuleType, growth_mb_per_minute: float, minutes: float = 30.0) -> Any:
    """Grows fast for four minutes, then as given; noise of 1 MB."""
    at_s = np.arange(0, 60 * minutes, 1.0)
    noise = np.random.default_rng(0).normal(0, 1, len(at_s))
    resident_mb = 500 + 50 * (1 - np.exp(-at_s / 60)) + growth_mb_per_minute * at_s / 60 + noise
    return soak.Memory(at_s.tolist(), resident_mb.tolist())


@pytest.mark.parametrize(("growth_mb_per_minute", "flat"), [(0.0, True), (0.05, True), (0.5, False), (-0.5, False)])
def test_drift_is_what_comes_after_the_warm_up(soak: ModuleType, growth_mb_per_minute: float, flat: bool) -> None:
    drift = memory(soak, growth_mb_per_minute).summary()["drift"]
    assert (abs(drift) < soak.MOST_DRIFT) == flat
    assert drift == pytest.approx(growth_mb_per_minute * 22.5 / 550, abs=0.002)


@pytest.mark.parametrize(
    ("delivery", "age_ms", "failed"),
    [
        (DeliveryReport(18000, 17990, 3600, 14390, 0, 3600), 190.0, set()),
        (DeliveryReport(18000, 17990, 3600, 14389, 0, 3600), 190.0, {"every_frame_accounted_for"}),
        (DeliveryReport(18000, 17990, 3600, 14389, 1, 3600), 190.0, {"every_frame_accounted_for"}),
        (DeliveryReport(18000, 17990, 3600, 14390, 0, 3599), 190.0, {"every_answer_arrived"}),
        (DeliveryReport(18000, 17990, 3000, 14990, 0, 3000), 190.0, {"rate_held"}),
        (DeliveryReport(18000, 17990, 3600, 14390, 0, 3600), 210.0, {"age_below_two_periods"}),
    ],
)
def test_each_check_can_fail(soak: ModuleType, delivery: DeliveryReport, age_ms: float, failed: set[str]) -> None:
    playback = Playback(images=[Event(1, 1_000_000)])
    recording = Recording(arrivals=[Event(1, 3_000_000)], stats=[FrameStats(age_ms=age_ms, total_ms=100.0)])
    live = RunResult(playback, recording, [0], delivery, start_s=5.0, run_s=1800.0)
    result = soak.report(soak.parse(["--json", "unused", "--target-hz", "2"]), live, memory(soak, 0.0))
    assert {name for name, passed in result["checks"].items() if not passed} == failed
    assert result["latency_ms"]["p50"] == pytest.approx(2.0)


def test_the_memory_of_another_process_can_be_read(soak: ModuleType) -> None:
    assert soak.resident(os.getpid()) > 100
    assert soak.resident(2**22 + 1) is None, "beyond the largest process id"
