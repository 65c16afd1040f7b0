"""A target rate on the live node: what falls is the budget."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from depth_retrofit_ros.device import cuda_streams
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.node import processor
from test.ros.graph import NODE, Graph, KeepCoarse, SlantedWall, image_message, repeat_until, value, wait_until


class SlowRefiner(KeepCoarse):
    """Takes ``ms_per_pixel`` of a clock that nothing else moves: how busy this machine is makes no difference."""

    ms_per_pixel = 0.0

    def __init__(self) -> None:
        self.now_s = 0.0

    def refine(self, given: RefinerInput) -> Any:
        depth = super().refine(given)
        self.now_s += 1e-3 * self.ms_per_pixel * len(depth)
        return depth


@pytest.fixture
def refiner(monkeypatch: pytest.MonkeyPatch) -> SlowRefiner:
    """Whose clock is that of the frames' times."""
    slow = SlowRefiner()
    clock = SimpleNamespace(perf_counter=lambda: slow.now_s, monotonic=time.monotonic)
    for module in (processor, cuda_streams):
        monkeypatch.setattr(module, "time", clock)
    return slow


def test_the_budget_falls_to_hold_the_target_and_recovers(graph: Graph, refiner: SlowRefiner) -> None:
    node = graph.depth_node(load=lambda settings: Retrofit(SlantedWall(), refiner, settings.budget), target_fps=20.0)
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")

    def publish() -> None:
        images.publish(image_message())

    repeat_until(publish, lambda: len(stats) >= 8, "answers")
    assert {round(stat.budget, 6) for stat in stats} == {0.1} and stats[-1].refined_pixels == 307

    refiner.ms_per_pixel = 0.375  # 115 ms with the whole budget, 23 ms with the least; 41 and 58 ms with the two that matter
    repeat_until(publish, lambda: stats[-1].budget < 0.04, "a smaller budget")
    first = len(stats)
    repeat_until(publish, lambda: len(stats) >= first + 20, "answers at the target rate")
    for stat in stats[first:]:
        assert stat.budget == pytest.approx(0.1 / 8**0.5) and stat.refined_pixels == round(stat.budget * 48 * 64)
        assert stat.total_ms == pytest.approx(0.375 * stat.refined_pixels, rel=1e-3)
    assert not [line for line in graph.warnings(node) if "target_fps" in line]
    reported = len(reports)
    wait_until(lambda: len(reports) > reported, "a report")
    assert float(value(reports[-1], "pipeline", "budget")) == pytest.approx(0.1 / 8**0.5, rel=1e-4)

    refiner.ms_per_pixel = 0.0
    repeat_until(publish, lambda: round(stats[-1].budget, 6) == 0.1, "the whole budget again")


def test_a_target_out_of_reach_is_told_once_and_its_end(graph: Graph, refiner: SlowRefiner) -> None:
    node = graph.depth_node(load=lambda settings: Retrofit(SlantedWall(), refiner, settings.budget), target_fps=20.0)
    refiner.ms_per_pixel = 2.0  # 122 ms with the least budget
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")
    repeat_until(lambda: images.publish(image_message()), lambda: len(stats) >= 10, "answers")
    assert round(stats[-1].budget, 6) == 0.02
    told = [line for line in graph.warnings(node) if "target_fps 20 cannot be held even at min_budget" in line]
    assert len(told) == 1
    wait_until(lambda: reports and "cannot be held" in pipeline(reports[-1]), "the warning in the diagnostics")
    assert graph.set_parameter(node, "target_fps", 1.0).successful
    repeat_until(lambda: images.publish(image_message()), lambda: round(stats[-1].budget, 6) == 0.1, "the whole budget")


def pipeline(report: DiagnosticArray) -> str:
    return next(status.message for status in report.status if status.name == f"{NODE}: pipeline")
