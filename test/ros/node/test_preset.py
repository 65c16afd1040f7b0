"""``preset: paper`` on a live graph: how many pixels are refined, what is told of the bound, what is refused."""

from __future__ import annotations

import array
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.selection.threshold import CAP
from depth_retrofit_ros.selection.uncertainty import entropy_share
from depth_retrofit_ros.upsampling.interpolation import nearest
from test.refinement.paper.nets import paper_checkpoint
from test.ros.graph import NODE, Graph, image_message, pixels_of, repeat_until, value, wait_until

HEIGHT, WIDTH = 96, 128


def paper_node(graph: Graph, checkpoint: Path, **more: float) -> DepthNode:
    settings: dict[str, Any] = {"model": "compact", "device": "cpu", "coarse_engine": "eager", "engine": "torch"}
    return graph.depth_node(preset="paper", refiner=str(checkpoint), **settings | more)


def showing(pixels: np.ndarray, stamp_s: int) -> Image:
    message = image_message(HEIGHT, WIDTH, stamp_s)
    message.data = array.array("B", pixels.tobytes())
    return message


def answered(stats: list[FrameStats], stamp_s: int, counts: dict[int, int]) -> bool:
    """Whether an image of that stamp was answered; its refined pixels are counted then."""
    counts |= {stat.header.stamp.sec: stat.refined_pixels for stat in stats}
    return stamp_s in counts


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
    """Of a gray picture, and of one that is gray on one side: as many pixels are refined as are above the threshold, some of each,
    fewer than the bound, of which nothing is said."""
    gray = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    half = np.where(np.arange(WIDTH)[None, :, None] < WIDTH // 2, gray, pixels_of(image_message(HEIGHT, WIDTH)))
    messages = {stamp: showing(image, stamp) for stamp, image in ((100, gray), (200, half))}
    with torch.inference_mode():
        coarse = load_coarse("compact", weights=None, device="cpu")
        entropies = [
            entropy_share((p := coarse.predict(torch.from_numpy(image), None)).features, (p.depth.shape[0], p.depth.shape[1]))
            for image in (gray, half)
        ]
    alpha = float(torch.cat([entropy.flatten() for entropy in entropies]).quantile(0.9))
    wanted = [int((nearest(entropy, (HEIGHT, WIDTH)) > alpha).sum()) for entropy in entropies]
    node = paper_node(graph, paper_checkpoint(tmp_path / "paper.safetensors", compact=alpha))
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    images = graph.publisher(Image, "/image")
    counts = dict[int, int]()
    for stamp, message in messages.items():
        repeat_until(partial(images.publish, message), partial(answered, stats, stamp, counts), "an answer")
    assert [*counts.values()] == wanted and counts[100] != counts[200]
    assert not [line for line in graph.warnings(node) if "uncertain" in line]


def test_a_threshold_of_the_default_preset_is_refused(graph: Graph) -> None:
    node = graph.depth_node(start=False, model="compact", entropy_threshold=0.3)
    assert not node.autostart()
    assert any("entropy_threshold is of preset paper" in line for line in graph.warnings(node))
