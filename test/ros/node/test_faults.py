"""Bad messages, missing calibration, overload: the node lives, says one clear line, and counts every frame."""

from __future__ import annotations

import array
import functools
import struct
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.device.memory import resident_mb
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.retrofit import Retrofit
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, repeat_until, status, value, wait_until


def broken(**changes: Any) -> Image:
    message = image_message()
    for name, content in changes.items():
        setattr(message, name, content)
    return message


BAD_IMAGES = {
    "truncated data": broken(data=array.array("B", bytes(100))),
    "no data": broken(data=array.array("B")),
    "wrong step": broken(step=10),
    "unknown encoding": broken(encoding="rgb48"),
    "depth as input": broken(encoding="32FC1", step=256, data=array.array("B", bytes(48 * 256))),
    "0x0": Image(encoding="rgb8"),
    "a claim of gigabytes": broken(height=2**31, width=2**31, step=2**32 - 1),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_costs_one_line_and_the_next_one_is_answered(graph: Graph, name: str) -> None:
    node = graph.depth_node(SlantedWall())
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    images.publish(BAD_IMAGES[name])
    wait_until(lambda: graph.warnings(node), "the line about it")
    (line,) = graph.warnings(node)
    assert "\n" not in line and line.startswith("image ")

    images.publish(image_message(stamp_s=7))
    wait_until(lambda: depths and stats, "the answer to the good image")
    assert depths[0].header.stamp.sec == 7
    assert (stats[0].received, stats[0].processed, stats[0].dropped, stats[0].failed) == (2, 1, 0, 1)
    wait_until(lambda: reports and value(reports[-1], "input", "processed") == "1", "the report")
    assert value(reports[-1], "input", "last failure") == line
    counts = {key: value(reports[-1], "input", key) for key in ("received", "dropped", "failed", "pending")}
    assert counts == {"received": "2", "dropped": "0", "failed": "1", "pending": "0"}


@pytest.mark.parametrize("name", [*BAD_IMAGES, "a claim of 30 GB", "no height", "one more row than it has"])
def test_a_bad_image_that_nobody_listens_to_costs_nothing(graph: Graph, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the device is warmed up for a size before anybody listens, a header alone is no size."""
    more = {
        "a claim of 30 GB": Image(height=100_000, width=100_000, encoding="rgb8", step=300_000),
        "no height": broken(height=0),
        "one more row than it has": broken(height=49),
    }
    node = graph.depth_node(SlantedWall(), lazy=False)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(Retrofit, "compiles_for_size", property(lambda self: True))  # as on CUDA
    monkeypatch.setattr(Retrofit, "warm_up", lambda self, height, width, camera=None: asked.append((height, width)))
    reports, images = graph.listen(DiagnosticArray, "/diagnostics"), graph.publisher(Image, "/image")
    repeat_until(
        lambda: images.publish((BAD_IMAGES | more)[name]),
        lambda: reports and int(value(reports[-1], "input", "without subscribers")) >= 3,
        "three of them",
    )
    repeat_until(lambda: images.publish(image_message(40, 56)), lambda: asked, "a sound one's turn")
    assert set(asked) == {(40, 56)}
    assert value(reports[-1], "input", "last failure") == "" and not graph.warnings(node)


def test_a_size_that_cannot_be_warmed_up_for_is_told_once_and_not_tried_again_unasked(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = graph.depth_node(SlantedWall(), lazy=False)
    asked: list[tuple[int, int]] = []

    def warm_up(self: Retrofit, height: int, width: int, camera: object = None) -> None:
        asked.append((height, width))
        if height == 48:
            raise RuntimeError("no kernel for this size")

    monkeypatch.setattr(Retrofit, "compiles_for_size", property(lambda self: True))  # as on CUDA
    monkeypatch.setattr(Retrofit, "warm_up", warm_up)
    reports, images = graph.listen(DiagnosticArray, "/diagnostics"), graph.publisher(Image, "/image")
    repeat_until(
        lambda: images.publish(image_message()),
        lambda: reports and int(value(reports[-1], "input", "without subscribers")) >= 3,
        "three of them",
    )
    repeat_until(lambda: images.publish(image_message(40, 56)), lambda: (40, 56) in asked, "another size's turn")
    assert asked.count((48, 64)) == 1
    assert graph.warnings(node) == ["RuntimeError: no kernel for this size"]
    graph.listen(Image, f"{NODE}/depth/image_rect")
    repeat_until(lambda: images.publish(image_message()), lambda: asked.count((48, 64)) > 1, "who listens to have it tried")


def serialized(**changes: Any) -> bytes:
    return bytes(serialize_message(broken(**changes)))


SOUND = serialized()
AT_LENGTH = SOUND.rindex(struct.pack("<I", 48 * 64 * 3))  # of the pixels
RAW = {
    "cut off": SOUND[:100],
    "nothing": b"",
    "only the CDR header": SOUND[:4],
    "noise": bytes(range(256)),
    "pixels that claim 2 GB": SOUND[:AT_LENGTH] + struct.pack("<I", 2**31) + SOUND[AT_LENGTH + 4 :],
    "a frame_id that claims 4 GB": SOUND[:12] + struct.pack("<I", 2**32 - 1) + SOUND[16:],
    "a frame_id that is no UTF-8": SOUND.replace(b"camera_optical", b"camera\xff\xfe\x80tical"),
    "an encoding that is no UTF-8": SOUND.replace(b"rgb8\0", b"rg\xff\xfe\0"),
}


def test_bytes_that_are_no_message_cost_neither_the_node_nor_memory(graph: Graph) -> None:
    """As a peer may put them on the wire: the length fields of CDR are claims like any other."""
    graph.depth_node(SlantedWall())
    stats, images = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.publisher(Image, "/image")
    images.publish(image_message(stamp_s=1))
    wait_until(lambda: stats, "the first answer")
    before_mb = resident_mb()
    for number, name in enumerate(RAW, start=2):
        for _ in range(3):
            images.publish(RAW[name])
        images.publish(image_message(stamp_s=number))
        wait_until(lambda n=number: stats[-1].header.stamp.sec == n, f"the answer to the image after {name}")  # type: ignore[misc]
    assert resident_mb() - before_mb < 100


def test_a_damaged_jpeg_costs_one_line(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), image_transport="compressed")
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    images = graph.publisher(CompressedImage, "/image/compressed")
    images.publish(CompressedImage(format="jpeg", data=array.array("B", b"\xff\xd8\xff\xe0 not a jpeg")))
    wait_until(lambda: any("JPEG" in line for line in graph.warnings(node)), "the line about it")
    assert not stats


def test_the_same_failure_at_camera_rate_is_logged_once_and_counted_each_time(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    repeat_until(
        lambda: images.publish(BAD_IMAGES["wrong step"]),
        lambda: reports and int(value(reports[-1], "input", "failed")) >= 10,
        "ten failures in the diagnostics",
    )
    assert status(reports[-1], "input").level == DiagnosticStatus.WARN
    assert status(reports[-1], "calibration").level == DiagnosticStatus.OK, "camera_info is there, only the images are bad"
    assert len(graph.warnings(node)) == 1
    received, failed = (int(value(reports[-1], "input", key)) for key in ("received", "failed"))
    dropped, pending = (int(value(reports[-1], "input", key)) for key in ("dropped", "pending"))
    assert received == failed + dropped + pending


def test_an_error_in_the_model_costs_the_frame_only(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall)
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    wall.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied\nand more …")
    images.publish(image_message(stamp_s=1))
    wait_until(lambda: graph.warnings(node), "the line about it")
    assert graph.warnings(node) == ["RuntimeError: mat1 and mat2 shapes cannot be multiplied"]
    wall.error = None
    images.publish(image_message(stamp_s=2))
    wait_until(lambda: depths, "the next answer")
    assert [depth.header.stamp.sec for depth in depths] == [2]


def changed_info(**changes: Any) -> CameraInfo:
    info = info_message()
    for name, content in changes.items():
        setattr(info, name, content)
    return info


BAD_INFOS = {
    "zero": (CameraInfo(), "not calibrated"),
    "NaN": (CameraInfo(width=64, height=48, k=[float("nan")] * 9, p=[float("nan")] * 12), "not usable"),
    "normalised": (changed_info(p=[0.75, 0.0, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0]), "normalised"),
    "millimetres": (changed_info(p=[0.4, 0.0, 31.0, 0.0, 0.0, 0.4, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0]), "fx, fy = 0.4, 0.4 px"),
    "another image's": (changed_info(width=64, height=36), "aspect ratio"),
    "no size": (CameraInfo(k=list(info_message().k), p=list(info_message().p)), "empty"),
}


@pytest.mark.parametrize("name", BAD_INFOS)
def test_bad_camera_info_means_depth_but_no_cloud_and_one_warning(graph: Graph, name: str) -> None:
    info, told = BAD_INFOS[name]
    node = graph.depth_node(SlantedWall())
    depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
    infos, stats = graph.listen(CameraInfo, f"{NODE}/depth/camera_info"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    graph.publisher(CameraInfo, "/camera_info").publish(info)
    images = graph.publisher(Image, "/image")
    for number in (1, 2, 3):
        images.publish(image_message(stamp_s=number))
        wait_until(functools.partial(has, depths, number), f"depth {number}")
    wait_until(lambda: len(stats) == 3 and graph.warnings(node), "statistics and the warning")
    (line,) = graph.warnings(node)
    assert told in line and "cloud" in line and "\n" not in line
    assert not clouds and not infos
    assert not any(stat.metric for stat in stats)
    assert np.isfinite(pixels_of(depths[0])).all()


def test_a_late_camera_info_is_picked_up_and_its_absence_told_once(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
    images = graph.publisher(Image, "/image")
    repeat_until(lambda: images.publish(image_message()), lambda: graph.warnings(node), "the warning, which grants some grace")
    assert depths and graph.warnings(node)[0].startswith("no camera_info on /camera_info")
    assert not clouds
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images.publish(image_message(stamp_s=999))
    wait_until(lambda: clouds, "the cloud")
    assert clouds[0].header.stamp.sec == 999
    assert len(graph.warnings(node)) == 1


def test_camera_info_is_fine_only_where_it_is(graph: Graph) -> None:
    """After a bad one another bad one is another warning, and neither is praised on its arrival."""
    node = graph.depth_node(SlantedWall())
    praised = graph.infos(node)
    depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
    infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
    for number, (info, told) in enumerate(BAD_INFOS.values(), start=1):

        def send(info: CameraInfo = info) -> None:
            infos.publish(info)
            images.publish(image_message())

        repeat_until(send, functools.partial(warned, graph, node, number), f"the warning of {told}")
        assert told in graph.warnings(node)[-1]
    assert depths and not clouds and not [line for line in praised if "fine" in line]

    def send_good() -> None:
        infos.publish(info_message())
        images.publish(image_message())

    repeat_until(send_good, lambda: clouds, "the cloud")
    assert [line for line in praised if "fine" in line] == ["camera_info is fine now"]
    assert len(graph.warnings(node)) == len(BAD_INFOS)


def test_a_model_outside_of_its_word_gives_relative_depth_and_one_line_says_why_and_what_to_do(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(claim=ScaleClaim("metric", "domain", "streets")))
    depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    previews = graph.listen(Image, f"{NODE}/depth/preview")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    for number in (1, 2):
        images.publish(image_message(stamp_s=number))
        wait_until(functools.partial(has, depths, number), f"depth {number}")
    wait_until(lambda: len(stats) == len(previews) == 2 and graph.warnings(node), "statistics, previews and the warning")
    assert graph.warnings(node) == [
        "slanted-wall is metric for streets only: depth is relative, not in metres, and there is no cloud; set align to "
        "scale-shift and give sparse_depth or sparse_points, or set trust_scale to true if the camera sees just these"
    ]
    assert not clouds and (stats[1].metric, stats[1].scale_source) == (False, "")
    wait_until(lambda: reports and value(reports[-1], "model", "scale") == "relative", "the report")
    told = status(reports[-1], "metric scale")
    assert (told.level, told.message) == (DiagnosticStatus.WARN, "relative: slanted-wall is metric for streets only")


def test_with_trust_it_is_metric_and_everything_says_on_whose_word(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(claim=ScaleClaim("metric", "domain", "streets")), trust_scale=True)
    clouds, stats = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    graph.publisher(Image, "/image").publish(image_message())
    wait_until(lambda: clouds and stats, "the cloud")
    assert (stats[0].metric, stats[0].scale_source) == (True, "user") and not graph.warnings(node)
    wait_until(lambda: reports and value(reports[-1], "metric scale", "metric on the word of") == "user", "the report")
    told = status(reports[-1], "metric scale")
    assert (told.level, told.message) == (
        DiagnosticStatus.OK,
        "metric on the word of the user: slanted-wall is metric for streets only",
    )


def test_relative_depth_has_no_scale_to_trust(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(metric=False), trust_scale=True, start=False)
    assert not node.autostart()
    (line,) = graph.warnings(node)
    assert "there is none to trust" in line and "\n" not in line


def test_relative_depth_is_never_metres(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(metric=False))
    depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    for number in (1, 2):
        images.publish(image_message(stamp_s=number))
        wait_until(functools.partial(has, depths, number), f"depth {number}")
    wait_until(lambda: len(stats) == 2 and graph.warnings(node), "statistics and the warning")
    (line,) = graph.warnings(node)
    assert "relative" in line and "not in metres" in line and "set align to scale-shift" in line
    assert not clouds
    assert not stats[0].metric and stats[0].scale_source == ""
    wait_until(lambda: reports and value(reports[-1], "model", "scale") == "relative", "the report")
    assert "relative" in status(reports[-1], "model").message


def test_under_overload_the_newest_frame_is_next_and_every_other_one_is_counted(graph: Graph) -> None:
    wall = SlantedWall()
    graph.depth_node(wall)
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")

    def counted(key: str) -> int:
        return int(value(reports[-1], "input", key)) if reports else 0

    wall.hold.clear()
    calls = wall.calls
    repeat_until(lambda: images.publish(image_message(stamp_s=1)), lambda: wall.calls > calls, "the model to be busy")
    repeat_until(lambda: images.publish(image_message(stamp_s=2)), lambda: counted("dropped") >= 5, "five drops")
    before = counted("received")
    repeat_until(lambda: images.publish(image_message(stamp_s=3)), lambda: counted("received") > before + 5, "newer images")
    report = reports[-1]  # of one moment: the last images may still be on their way
    received, dropped, pending = (int(value(report, "input", key)) for key in ("received", "dropped", "pending"))
    assert (received, pending) == (dropped + 2, 2)

    wall.hold.set()
    wait_until(lambda: len(stats) == len(depths) == 2, "two answers")
    assert [depth.header.stamp.sec for depth in depths] == [1, 3]
    assert (stats[-1].received, stats[-1].processed, stats[-1].failed) == (stats[-1].dropped + 2, 2, 0)


def test_two_nodes_side_by_side_keep_to_themselves(graph: Graph) -> None:
    for side, metric in (("left", True), ("right", False)):
        arguments = ["--ros-args", "-r", f"image:=/{side}/image", "-r", f"camera_info:=/{side}/camera_info"]
        graph.depth_node(SlantedWall(metric), name=side, cli_args=arguments)
    stats = {side: graph.listen(FrameStats, f"/{side}/frame_stats") for side in ("left", "right")}
    images = {side: graph.publisher(Image, f"/{side}/image") for side in stats}
    for side, publisher in images.items():
        graph.publisher(CameraInfo, f"/{side}/camera_info").publish(info_message())
        publisher.publish(image_message(stamp_s=len(side), frame_id=side))
    wait_until(lambda: stats["left"] and stats["right"], "both answers")
    for side, (stat,) in stats.items():
        assert (stat.header.frame_id, stat.header.stamp.sec, stat.metric) == (side, len(side), side == "left")


def test_age_is_on_the_node_s_clock_and_durations_are_not(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), use_sim_time=True)
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    clock = graph.publisher(Clock, "/clock")
    now = Clock()
    now.clock.sec = 101
    clock.publish(now)
    wait_until(lambda: node.get_clock().now().nanoseconds == 101_000_000_000, "the simulated time")
    graph.publisher(Image, "/image").publish(image_message(stamp_s=100))  # + 0.25 s
    wait_until(lambda: stats, "statistics")
    assert stats[0].age_ms == pytest.approx(750.0)
    assert stats[0].total_ms > 0.0


def warned(graph: Graph, node: Node, count: int) -> bool:
    return has(graph.warnings(node), count)


def has(messages: list[Any], count: int) -> bool:
    return len(messages) >= count
