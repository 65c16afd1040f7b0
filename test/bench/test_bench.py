"""`depth-retrofit bench`: the contract of its JSON, and that its figures are of what they say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.bench import document, gpu, live, timing
from depth_retrofit_ros.bench.live import rate_hz
from depth_retrofit_ros.bench.stages import measure_messages, measure_method, rendered_frame
from depth_retrofit_ros.bench.timing import figures, memcpy_gbps, repeat
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from depth_retrofit_ros.retrofit import load
from depth_retrofit_ros.ros.replay.live_run import RunResult
from depth_retrofit_ros.ros.replay.player import Playback
from depth_retrofit_ros.ros.replay.recorder import Recording

STAGES = ("coarse", "upsample", "select", "refine", "fuse")


def test_figures_by_hand() -> None:
    assert figures([3.0, 1.0, 2.0]) == {"ms_p50": 2.0, "ms_p99": pytest.approx(2.98), "ms_min": 1.0, "count": 3}


class Clock:
    """Runs only while ``work`` does."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.calls = 0

    def perf_counter(self) -> float:
        return self.now_s

    def work(self) -> None:
        self.calls += 1
        self.now_s += 0.02 if self.calls > 1 else 5.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_repeat_counts_calls_and_stops_in_time(clock: Clock) -> None:
    assert repeat(clock.work, 5) == pytest.approx(5 * [20.0]) and clock.calls == 6, "the first does not count"
    assert len(repeat(clock.work, 1000, seconds=0.09)) == 5, "the last one was begun before the time was over"
    assert len(repeat(clock.work, 1000, seconds=0.0)) == 1


def test_the_rate_of_copying_is_bytes_by_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []

    def copy(target: np.ndarray, source: np.ndarray) -> None:
        copied.append(min(target.nbytes, source.nbytes))
        clock.work()

    monkeypatch.setattr(timing, "np", SimpleNamespace(ones=np.ones, zeros=np.zeros, uint8=np.uint8, median=np.median, copyto=copy))
    assert memcpy_gbps(3) == pytest.approx(timing.COPIED / 0.02 / 1e9) and set(copied) == {timing.COPIED}


def test_a_rendered_frame_has_the_size_and_its_camera() -> None:
    frame = rendered_frame((90, 160))
    assert frame.image.shape == (90, 160, 3) and frame.image.std() > 5
    assert frame.camera is not None and (frame.camera.height, frame.camera.width) == (90, 160)


def test_stages_are_of_the_budget_and_sum_up_to_the_whole() -> None:
    retrofit = load("compact", device="cpu")
    entry = measure_method(retrofit, rendered_frame((180, 320)), 0.05, rounds=3)
    assert set(entry) == {"total", *STAGES} and retrofit.budget == 0.05
    assert sum(entry[stage]["ms_min"] for stage in STAGES) <= entry["total"]["ms_p99"]


def test_each_copy_has_its_floor_beside_it() -> None:
    frame = rendered_frame((90, 160))
    entries = measure_messages(frame, np.ones((90, 160), np.float32), 2, memcpy_gbps=10.0)
    assert entries["depth_message"]["bytes"] == 4 * 90 * 160
    assert entries["cloud_stride_2"]["bytes"] == 16 * 45 * 80 and entries["decode_jpeg"]["bytes"] == 3 * 90 * 160
    for entry in entries.values():
        assert entry["ms_p50"] > 0 and entry["floor_ms"] == pytest.approx(entry["bytes"] / 10e6)


SMALL = ["--size", "160x96", "--node-size", "160x96", "--seconds", "2", "--camera-hz", "5", "--rounds", "2", "--budget", "0.05"]


def measured(out: Path, *parts: str) -> dict[str, Any]:
    """What the command stores of these parts."""
    assert cli.main(["bench", "--json", str(out), *SMALL, "--parts", *parts]) == 0
    told: dict[str, Any] = json.loads(out.read_text())
    assert told["memcpy_gbps"] > 0 and "torch" in told["machine"]
    return told


@pytest.mark.slow
def test_the_json_of_sparse_and_stages_has_what_the_contract_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = measured(tmp_path / "folder" / "bench.json", "sparse", "stages")
    assert {"sparse", "stages", "budgets"} <= set(told) and not {"node", "overhead", "overhead_ratio"} & set(told)
    assert told["sparse"]["active"] == round(0.05 * 160 * 96) and told["sparse"]["size"] == [96, 160]
    for row in (*told["sparse"]["engines"].values(), told["sparse"]["dense_masked"]):
        assert {"ms_p50", "ms_p99", "peak_mb"} <= set(row)
    assert {"cpu", "torch"} <= set(told["sparse"]["engines"])
    assert {*STAGES, "total", "decode_rgb8", "depth_message", "cloud_stride_2"} <= set(told["stages"])
    assert list(told["budgets"]) == ["0.02", "0.05", "0.1", "0.2"]
    assert "dense_masked" in capsys.readouterr().out


@pytest.mark.slow
def test_the_json_of_the_node_has_what_the_contract_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(document, "OVERHEAD_S", 2.0)
    monkeypatch.setattr(document, "UNLOADED_HZ", 4.0)
    told = measured(tmp_path / "bench.json", "node")
    (node,) = told["node"]
    assert node["size"] == [96, 160] and node["rate_hz"] == 5.0 and node["played"] == 10
    assert node["received"] == node["processed"] + node["dropped"] + node["failed"] and node["processed"] > 0
    assert 0 < node["age_ms_p50"] <= node["age_ms_p99"] and (node["fps"] > 0) == (node["processed"] > 1)
    assert told["overhead"]["bytes"] == 2 * (4 + 4) * 96 * 160
    assert told["overhead_ratio"] == pytest.approx(told["overhead"]["overhead_ms_p50"] / told["overhead"]["floor_ms"])
    assert "node 160x96 at 5 Hz" in capsys.readouterr().out


@pytest.mark.slow
def test_the_gpu_profile_runs_dry(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it but the node, which is the one above."""
    pytest.importorskip("transformers")
    monkeypatch.setattr(gpu, "measure_node", lambda size, *rest: {"size": list(size)})
    entry = gpu.run(gpu.Profile(torch.device("cpu"), (70, 126), 1, ("small",)), lambda line: None)
    assert entry["dry_run"] and "random weights" in entry["models"][0]["model"] and "random weights" in entry["node"]["model"]
    assert set(entry["models"][0]["stages"]) == set(STAGES) and entry["models"][0]["side_by_side_fps"] > 0
    assert entry["refiner"]["ratio"] > 0 and entry["refiner"]["active"] == 882


def test_sparse_and_dense_of_the_gpu_profile_are_the_same_network() -> None:
    refiner = load_sparse_refiner(None, torch.device("cpu"), precision="float32")
    entry = gpu.measure_refiner(gpu.Profile(torch.device("cpu"), (32, 48), 1), refiner)
    assert entry["active"] == 154 and entry["dtype"] == "torch.float32" and entry["engine"] == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_gpu_profile_without_a_gpu_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--gpu", "--json", str(tmp_path / "out.json")]) == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["bench", "--json", str(tmp_path / "file" / "out.json")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_dry_run_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--dry-run", "--json", str(tmp_path / "out.json")]) == 2
    assert "add --gpu" in capsys.readouterr().err and not (tmp_path / "out.json").exists()


def test_a_node_that_answers_nothing_in_time_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = RunResult(Playback(), Recording(), [], DeliveryReport(3, 3, 0, 3, 0, 0), start_s=1.0, run_s=1.0)
    monkeypatch.setattr(live, "run_live", lambda *arguments: nothing)
    with pytest.raises(GraphError, match=r"^none of 3 images of 64x48 was answered [^\n]*--seconds$"):
        live.measure_node((48, 64), 5.0, 1.0, {}, lambda line: None)


def test_rate_by_hand() -> None:
    assert rate_hz([10_000_000, 510_000_000, 1_010_000_000]) == pytest.approx(2.0)
    assert rate_hz([5]) == rate_hz([]) == 0.0
