"""Sparse depth makes metres of any model's depth, and nothing else does."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.messages.calibration import camera_from_info
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, repeat_until, status, value, wait_until

HEIGHT, WIDTH = 48, 64
FORWARD_LEFT_UP = [0.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.5]  # pose of a LiDAR's frame in an optical frame at the same place


def wall(graph: Graph, metric: bool) -> np.ndarray:
    """The depth [H, W] that the node gives without alignment."""
    depths, images = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.publisher(Image, "/image")
    images.publish(image_message())
    wait_until(lambda: depths, "the model's own depth")
    return pixels_of(depths[0]).copy()


def sparse_image(depth: np.ndarray, stamp_s: int = 100) -> Image:
    """Every fourth pixel of ``depth`` as a small 16UC1 image, one in five unknown."""
    millimeters = np.rint(1000 * depth[2::4, 2::4]).astype(np.uint16)
    millimeters.flat[::5] = 0
    message = Image(height=millimeters.shape[0], width=millimeters.shape[1], encoding="16UC1", step=2 * millimeters.shape[1])
    message.header = image_message(stamp_s=stamp_s).header
    message.data = array.array("B", millimeters.tobytes())
    return message


def sparse_points(depth: np.ndarray, stamp_s: int = 100) -> PointCloud2:
    """Random pixels of ``depth`` as a LiDAR sees them: x forward, y left, z up."""
    camera = camera_from_info(info_message(), WIDTH, HEIGHT)
    assert camera is not None
    rng = np.random.default_rng(0)
    u, v = rng.integers(0, WIDTH, 200), rng.integers(0, HEIGHT, 200)
    z = depth[v, u].astype(float)
    x, y = (u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z
    points = np.stack((z, -x, -y), axis=1).astype(np.float32)
    fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")]
    message = PointCloud2(height=1, width=200, fields=fields, point_step=12, row_step=2400)
    message.header = image_message(stamp_s=stamp_s, frame_id="lidar").header
    message.data = array.array("B", points.tobytes())
    return message


def scaled(depth: np.ndarray) -> np.ndarray:
    return 1.7 * depth


def affine_inverse(depth: np.ndarray) -> np.ndarray:
    return 1 / (2.0 / depth + 0.1)


@pytest.mark.parametrize(("metric", "mode", "truth_of"), [(True, "scale", scaled), (False, "scale-shift", affine_inverse)])
@pytest.mark.parametrize("sensor", ["depth camera", "lidar"])
def test_depth_becomes_that_of_the_sensor(graph: Graph, metric: bool, mode: str, truth_of: Any, sensor: str) -> None:
    node = graph.depth_node(SlantedWall(metric), align=mode, sparse_points_pose=FORWARD_LEFT_UP, cloud_stride=1)
    truth = truth_of(wall(graph, metric))
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    clouds, reports = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(DiagnosticArray, "/diagnostics")
    infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
    kind, topic, message = (
        (Image, "/sparse_depth", sparse_image(truth))
        if sensor == "depth camera"
        else (PointCloud2, "/sparse_points", sparse_points(truth))
    )
    sparse = graph.publisher(kind, topic)

    def send() -> None:
        infos.publish(info_message())
        sparse.publish(message)
        images.publish(image_message())

    repeat_until(send, lambda: clouds and any(stat.metric for stat in stats), "aligned depth and its cloud")
    repeat_until(send, lambda: reports and value(reports[-1], "metric scale", "align") == mode and aligned(reports), "the report")
    np.testing.assert_allclose(pixels_of(depths[-1]), truth, rtol=0.004)  # the sensor's millimetres, and its pixels
    np.testing.assert_allclose(pixels_of(clouds[-1])[..., 2], truth, rtol=0.004)
    assert value(reports[-1], "model", "scale") == "metric"
    assert value(reports[-1], "metric scale", "metric on the word of") == "sensor"
    assert {stat.scale_source for stat in stats if stat.metric} <= {"sensor", "model"}
    assert float(value(reports[-1], "metric scale", "scale")) == pytest.approx(1.7 if metric else 2.0, rel=0.02)
    assert float(value(reports[-1], "metric scale", "shift")) == pytest.approx(0.0 if metric else 0.1, abs=0.01)
    assert ("inverse" in value(reports[-1], "metric scale", "of")) is not metric
    assert float(value(reports[-1], "metric scale", "residual")) < 0.01
    assert not [line for line in graph.warnings(node) if "not aligned" in line and "no sparse depth" not in line]


def aligned(reports: list[DiagnosticArray]) -> bool:
    return bool(status(reports[-1], "metric scale").message == "aligned")


def test_without_sparse_depth_relative_depth_stays_relative_and_the_reason_is_told(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(metric=False), align="scale-shift")
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    clouds, reports = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")

    def told(what: str) -> bool:
        return bool(reports) and what in status(reports[-1], "metric scale").message

    repeat_until(lambda: images.publish(image_message()), lambda: told("no sparse depth on /sparse_depth or /sparse_points"), "why")
    assert status(reports[-1], "metric scale").level == DiagnosticStatus.WARN
    assert depths and not clouds and not any(stat.metric for stat in stats)
    assert any("not aligned" in line for line in graph.warnings(node))

    sparse = graph.publisher(PointCloud2, "/sparse_points")
    truth = affine_inverse(pixels_of(depths[0]))
    for message, reason in (
        (sparse_points(truth, stamp_s=90), "is 10.00 s from the image"),
        (sparse_points(truth), "set sparse_points_pose"),
        (PointCloud2(header=image_message().header), "only 0 sparse depths"),
        (PointCloud2(header=image_message().header, height=1, width=9, point_step=4, row_step=4), "do not fit"),
    ):
        repeat_until(lambda m=message: (sparse.publish(m), images.publish(image_message())), lambda r=reason: told(r), reason)  # type: ignore[misc]
    assert not clouds and not any(stat.metric for stat in stats)


def test_without_alignment_sparse_depth_is_not_even_subscribed(graph: Graph) -> None:
    graph.depth_node(SlantedWall())
    wait_until(lambda: graph.client.count_subscribers("/image") == 1, "the node")
    assert graph.client.count_subscribers("/sparse_depth") == graph.client.count_subscribers("/sparse_points") == 0


def test_a_scale_alone_is_refused_where_the_shift_is_unknown_too(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(metric=False), align="scale", start=False)
    assert not node.autostart()
    (line,) = graph.warnings(node)
    assert "align cannot be scale" in line and "set align to scale-shift" in line and "\n" not in line
    assert graph.set_parameter(node, "align", "scale-shift").successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    refused = graph.set_parameter(node, "align", "scale")
    assert not refused.successful and "set align to scale-shift" in refused.reason
    assert node.settings.align == "scale-shift"


def test_with_trust_missing_sparse_depth_leaves_the_users_word_and_a_contradiction_does_not(graph: Graph) -> None:
    claim = ScaleClaim("metric", "domain", "streets")
    node = graph.depth_node(SlantedWall(claim=claim), align="scale", trust_scale=True)
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    infos, images, sparse = (
        graph.publisher(kind, topic) for kind, topic in ((CameraInfo, "/camera_info"), (Image, "/image"), (Image, "/sparse_depth"))
    )

    def send() -> None:
        infos.publish(info_message())
        images.publish(image_message())

    def told() -> str:
        return str(status(reports[-1], "metric scale").message) if reports else ""

    repeat_until(send, lambda: "metres" in told(), "the user's word")
    assert told() == "not aligned (no sparse depth on /sparse_depth or /sparse_points): metres on your word alone"
    assert stats[-1].scale_source == "user"
    contrary = sparse_image(np.random.default_rng(0).uniform(0.5, 9.0, (HEIGHT, WIDTH)))

    def contradict() -> None:
        sparse.publish(contrary)
        send()

    repeat_until(contradict, lambda: "disagree" in told(), "the contradiction")
    assert "your word" not in told() and status(reports[-1], "metric scale").level == DiagnosticStatus.WARN
    assert not stats[-1].metric
    assert value(reports[-1], "metric scale", "metric on the word of") == "none"
    assert any("metres on your word alone" in line for line in graph.warnings(node))


def test_metres_by_sparse_depth_are_not_called_relative_without_camera_info(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(metric=False), align="scale-shift")
    truth = affine_inverse(wall(graph, False))
    stats, sparse = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.publisher(Image, "/sparse_depth")
    infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
    unusable = info_message()
    unusable.p[0] = unusable.p[5] = 1.0

    def send() -> None:
        infos.publish(unusable)
        sparse.publish(sparse_image(truth))
        images.publish(image_message())

    def told() -> list[str]:
        return [line for line in graph.warnings(node) if "field of view" in line]

    repeat_until(send, lambda: stats and stats[-1].scale_source == "sensor" and told(), "metres without intrinsics")
    assert "depth is in metres by sparse_depth alone, the cloud is not published" in told()[0]
    assert not any("up to scale" in line for line in graph.warnings(node))


def test_a_fit_worse_than_the_limit_is_not_metres_and_is_told_once(graph: Graph) -> None:
    """Half of the sparse depths are off by more: the residual differs from frame to frame, the warning does not come again."""
    node = graph.depth_node(SlantedWall(claim=ScaleClaim("metric", "domain", "streets")), align="scale", max_residual=0.1)
    depth = wall(graph, True)
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    infos, images, sparse = (
        graph.publisher(kind, topic) for kind, topic in ((CameraInfo, "/camera_info"), (Image, "/image"), (Image, "/sparse_depth"))
    )
    rng = np.random.default_rng(0)

    def send() -> None:
        infos.publish(info_message())
        sparse.publish(sparse_image(depth * rng.uniform(0.5, 1.5, depth.shape)))
        images.publish(image_message())

    def told() -> bool:
        return bool(reports) and "max_residual is 0.1" in status(reports[-1], "metric scale").message

    repeat_until(send, told, "the report")
    count = len(stats)
    repeat_until(send, lambda: len(stats) > count + 5, "more answers")
    assert not any(stat.metric for stat in stats)
    assert len([line for line in graph.warnings(node) if "max_residual" in line]) == 1
