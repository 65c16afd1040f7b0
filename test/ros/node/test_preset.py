"""``preset: paper`` on a live graph: how many pixels are refined, what is told of the bound, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.selection.threshold import CAP
from test.refinement.paper.nets import paper_checkpoint
from test.ros.graph import NODE, Graph, image_message, pixels_of, repeat_until, value, wait_until

HEIGHT, WIDTH = 96, 128


def paper_node(graph: Graph, checkpoint: Path, **more: float) -> DepthNode:
    settings: dict[str, Any] = {"model": "compact", "device": "cpu", "coarse_engine": "eager", "engine": "torch"}
    return graph.depth_node(preset="paper", refiner=str(checkpoint), **settings | more)


def test_the_counts_add_up_and_the_bound_is_told(graph: Graph, tmp_path: Path) -> None:
    node = paper_node(graph, paper_checkpoint(tmp_path / "paper.safetensors", compact=0.9), entropy_threshold=0.01)
    stats, selections = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(Image, f"{NODE}/depth/selection")
    depths, reports = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")
    stamps = iter(range(100, 10_000))
    repeat_until(lambda: images.publish(image_message(HEIGHT, WIDTH, next(stamps))), lambda: len(stats) >= 3, "answers")
    wait_until(lambda: len(depths) == len(selections) == len(stats), "the outputs of every answer")

    most = round(CAP * 0.1 * HEIGHT * WIDTH)
    for stat, selection, depth in zip(stats, selections, depths, strict=True):
        shown = int(np.count_nonzero(np.frombuffer(selection.data, np.uint8)))
        assert 0.9 * most < stat.refined_pixels == shown <= most
        assert stat.budget == np.float32(0.1) and np.isfinite(pixels_of(depth)).all()
    first = len(reports)
    wait_until(lambda: len(reports) > first + 1, "a report after the last answer")
    counts = {key: int(value(reports[-1], "input", key)) for key in ("received", "processed", "dropped", "failed", "pending")}
    assert counts["received"] == counts["processed"] + counts["dropped"]
    assert (counts["processed"], counts["failed"], counts["pending"]) == (len(stats), 0, 0)
    assert int(value(reports[-1], "pipeline", "uncertain pixels left out")) == HEIGHT * WIDTH - stats[-1].refined_pixels
    assert any("2.5 times the budget at most: raise it, or entropy_threshold" in line for line in graph.warnings(node))


def test_as_calibrated_nothing_is_left_out_and_the_number_varies(graph: Graph, tmp_path: Path) -> None:
    """Thresholds that no pixel of the frame is above: none is refined, and nothing is said of a bound."""
    node = paper_node(graph, paper_checkpoint(tmp_path / "paper.safetensors", compact=1.5))
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    images = graph.publisher(Image, "/image")
    repeat_until(lambda: images.publish(image_message(HEIGHT, WIDTH)), lambda: stats, "an answer")
    assert stats[0].refined_pixels == 0
    assert not [line for line in graph.warnings(node) if "uncertain" in line]


def test_a_threshold_of_the_default_preset_is_refused(graph: Graph) -> None:
    node = graph.depth_node(start=False, model="compact", entropy_threshold=0.3)
    assert not node.autostart()
    assert any("entropy_threshold is of preset paper" in line for line in graph.warnings(node))
