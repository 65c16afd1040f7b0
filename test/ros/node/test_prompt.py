"""A model that takes sparse depth gets it, and is metric on the sensor's word just where it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim, is_prompt
from depth_retrofit_ros.msg import FrameStats
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, repeat_until, status, value, wait_until
from test.ros.node.test_alignment import FORWARD_LEFT_UP, HEIGHT, WIDTH, sparse_image, sparse_points

TRUTH = np.full((HEIGHT, WIDTH), 7.5, np.float32)


class Prompted(SlantedWall):
    """Answers the mean of its prompt, and half a unit without one."""

    name = "prompted"

    def __init__(self) -> None:
        super().__init__(claim=ScaleClaim("metric", "sensor"))

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        answer = super().predict(image, camera)
        known = float(hints.sparse.depth.mean()) if is_prompt(hints.sparse) else 0.5
        return CoarsePrediction(torch.full_like(answer.depth, known), answer.features)


@pytest.mark.parametrize("sensor", ["depth camera", "lidar"])
@pytest.mark.parametrize("align", ["none", "scale"])
def test_sparse_depth_prompts_the_model(graph: Graph, sensor: str, align: str) -> None:
    node = graph.depth_node(Prompted(), align=align, sparse_points_pose=FORWARD_LEFT_UP)
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    clouds, reports = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(DiagnosticArray, "/diagnostics")
    infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
    message: Any = sparse_image(TRUTH) if sensor == "depth camera" else sparse_points(TRUTH)
    sparse = graph.publisher(type(message), "/sparse_depth" if sensor == "depth camera" else "/sparse_points")

    def send() -> None:
        infos.publish(info_message())
        sparse.publish(message)
        images.publish(image_message())

    repeat_until(send, lambda: clouds and any(stat.metric for stat in stats), "prompted depth and its cloud")
    repeat_until(send, lambda: reports and value(reports[-1], "metric scale", "metric on the word of") == "sensor", "the report")
    np.testing.assert_allclose(pixels_of(depths[-1]), TRUTH, rtol=0.004)
    assert {stat.scale_source for stat in stats if stat.metric} == {"sensor"}
    assert status(reports[-1], "metric scale").level == DiagnosticStatus.OK
    assert node is not None


def test_without_a_prompt_depth_is_relative_and_the_reason_is_told(graph: Graph) -> None:
    node = graph.depth_node(Prompted())
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")

    def told(what: str) -> bool:
        return bool(reports) and what in status(reports[-1], "metric scale").message

    repeat_until(lambda: images.publish(image_message()), lambda: told("no sparse depth on /sparse_depth or /sparse_points"), "why")
    assert status(reports[-1], "metric scale").level == DiagnosticStatus.WARN
    few = np.where(np.arange(WIDTH) < 8, TRUTH, 0)
    sparse = graph.publisher(Image, "/sparse_depth")
    message = sparse_image(few)
    repeat_until(lambda: (sparse.publish(message), images.publish(image_message())), lambda: told("a prompt takes 30"), "too few")
    assert not any(stat.metric for stat in stats)
    assert any("depth is relative, not in metres: no sparse depth" in line for line in graph.warnings(node))


def test_a_prompt_needs_no_calibration(graph: Graph) -> None:
    """Metres by a depth image, though without a cloud; and relative again where it stops."""
    graph.depth_node(Prompted())
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    images, sparse = graph.publisher(Image, "/image"), graph.publisher(Image, "/sparse_depth")
    message = sparse_image(TRUTH)
    repeat_until(
        lambda: (sparse.publish(message), images.publish(image_message())), lambda: any(stat.metric for stat in stats), "metres"
    )
    np.testing.assert_allclose(pixels_of(depths[-1]), TRUTH, rtol=0.004)
    repeat_until(lambda: images.publish(image_message(stamp_s=130)), lambda: stats and not stats[-1].metric, "relative depth")
    assert stats[-1].scale_source == ""


@pytest.mark.parametrize("align", ["none", "scale"])
def test_depth_keeps_its_unit_while_a_prompt_is_missing_for_less_than_a_second(graph: Graph, align: str) -> None:
    """And the report says how old the last one is."""
    graph.depth_node(Prompted(), align=align)
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    images, sparse = graph.publisher(Image, "/image"), graph.publisher(Image, "/sparse_depth")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    message = sparse_image(TRUTH)
    repeat_until(
        lambda: (sparse.publish(message), images.publish(image_message())), lambda: any(stat.metric for stat in stats), "metres"
    )
    later = image_message()
    later.header.stamp.nanosec += 700_000_000

    def told() -> bool:
        return bool(reports) and value_or_none(reports[-1], "age of the prompt [s]") == "0.70"

    repeat_until(lambda: images.publish(later), lambda: told() and any(s.header == later.header for s in stats), "the age")
    own = [stat for stat in stats if stat.header == later.header]
    assert own and all(stat.metric and stat.scale_source == "sensor" for stat in own)
    np.testing.assert_allclose(pixels_of(depths[-1]), TRUTH, rtol=0.004)
    scale = status(reports[-1], "metric scale")
    assert scale.level == DiagnosticStatus.WARN and "the nearest sparse depth" in scale.message


def value_or_none(report: DiagnosticArray, key: str) -> str | None:
    return next((pair.value for pair in status(report, "metric scale").values if pair.key == key), None)


def test_the_topics_are_there_without_alignment(graph: Graph) -> None:
    graph.depth_node(Prompted())
    wait_until(lambda: graph.client.count_subscribers("/sparse_depth") == 1, "the depth image's subscription")
    wait_until(lambda: graph.client.count_subscribers("/sparse_points") == 1, "the points' subscription")
