"""What the node subscribes to, and when; its service that forgets; and TF in place of a fixed pose."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.past import Past, forget
from depth_retrofit_ros.coarse.window import ViewWindow
from depth_retrofit_ros.errors import TransformError
from depth_retrofit_ros.ros.node import lazy_input
from depth_retrofit_ros.ros.node.camera_infos import TOO_FAR
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.ros.transport import qos
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, repeat_until, status, value, wait_until
from test.ros.node.test_alignment import FORWARD_LEFT_UP, sparse_points, wall


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("told", [True, False], ids=["matched events", "polled, as on Humble"])
def test_the_image_is_subscribed_only_while_somebody_listens(graph: Graph, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(lazy_input, "LINGER_S", 0.1)
    monkeypatch.setattr(qos, "tells_matches", lambda: told)
    node = graph.depth_node(SlantedWall())
    reports, images = graph.listen(DiagnosticArray, "/diagnostics"), graph.client.create_publisher(Image, "/image", 10)
    wait_until(lambda: images.get_subscription_count() == 1, "the wish for a first image")
    repeat_until(lambda: images.publish(image_message()), lambda: images.get_subscription_count() == 0, "its end")
    wait_until(lambda: reports and "not subscribed: nobody" in status(reports[-1], "input").message, "the word")
    assert status(reports[-1], "input").level == DiagnosticStatus.OK
    assert "nobody listens" in status(reports[-1], "pipeline").message

    depths: list[Image] = []
    listener = graph.client.create_subscription(Image, f"{NODE}/depth/image_rect", depths.append, 10)
    repeat_until(lambda: images.publish(image_message()), lambda: depths, "an answer")
    graph.client.destroy_subscription(listener)
    wait_until(lambda: images.get_subscription_count() == 0, "its end")
    assert graph.set_parameter(node, "lazy", False).successful
    wait_until(lambda: images.get_subscription_count() == 1, "the subscription without a listener")
    assert not [line for line in graph.warnings(node) if "camera_info" not in line]


def _newest_s(node: DepthNode) -> int | None:
    """Stamp [s] of the newest camera_info."""
    info = node._processor.info if node._processor else None
    return info and int(info.header.stamp.sec)


def test_the_calibration_of_its_time_is_used_and_what_is_odd_about_it_told_once(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    answers, reports = graph.listen(CameraInfo, f"{NODE}/depth/camera_info"), graph.listen(DiagnosticArray, "/diagnostics")
    infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
    for stamp_s, focal in ((100, 40.0), (101, 50.0), (102, 60.0)):  # a zoom lens
        info = info_message()
        info.header.stamp.sec, info.header.stamp.nanosec = stamp_s, 250_000_000
        info.k[0], info.p[0] = focal, focal
        infos.publish(info)
        wait_until(lambda sec=stamp_s: _newest_s(node) == sec, "the camera_info")  # type: ignore[misc]
    for count, stamp_s in enumerate((101, 100, 102, 110, 111), start=1):
        images.publish(image_message(stamp_s=stamp_s))
        wait_until(lambda n=count: len(answers) == n, "an answer")  # type: ignore[misc]
    assert [info.p[0] for info in answers] == [50.0, 40.0, 60.0, 60.0, 60.0]
    wait_until(lambda: reports and status(reports[-1], "calibration").message == TOO_FAR, "the report")
    assert value(reports[-1], "calibration", "images without") == "2" and value(reports[-1], "calibration", "found by") == "newest"
    images.publish(image_message(stamp_s=102, frame_id="other"))
    wait_until(lambda: len(answers) == 6, "an answer")
    assert answers[-1].header.frame_id == "other"
    lines = graph.warnings(node)
    assert lines.count(TOO_FAR) == 1 and len([line for line in lines if "camera_info is in frame 'camera_optical'" in line]) == 1
    wait_until(lambda: "the image in 'other'" in status(reports[-1], "calibration").message, "the report")


def test_a_reset_has_the_next_image_taken_as_the_first_one_and_points_find_their_place_by_tf(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(metric=True), align="scale", sparse_points_pose=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    refusing = graph.depth_node(SlantedWall(), start=False, name="idle")
    answer = graph.call(Trigger, f"/{refusing.get_name()}/reset", Trigger.Request())
    assert (answer.success, answer.message) == (False, "nothing is remembered: the node is unconfigured")

    infos, points = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(PointCloud2, "/sparse_points")
    infos.publish(info_message())
    truth = 1.7 * wall(graph, True)
    depths, reports = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")
    assert node._processor is not None
    transforms = node._processor.transforms
    transforms.missing = ""  # where TF's messages are not installed their content is given by hand
    pose = TransformStamped(child_frame_id="lidar")
    pose.header.frame_id = "camera_optical"
    r = pose.transform.rotation
    r.x, r.y, r.z, r.w = FORWARD_LEFT_UP[3:]
    transforms.offer([pose], is_static=True)

    def send(stamp_s: int) -> None:
        points.publish(sparse_points(truth, stamp_s))
        image = image_message()  # the picture of which the truth is: where it is refined, colours decide
        image.header.stamp.sec = stamp_s
        images.publish(image)

    def is_in_metres() -> bool:
        return bool(depths) and float(abs(pixels_of(depths[-1]) - truth).max()) < 0.01

    repeat_until(lambda: send(100), is_in_metres, "depth by the points' scale")
    response = graph.call(Trigger, f"{NODE}/reset", Trigger.Request())
    assert response.success and "counts and statistics stay" in response.message
    depths.clear()
    images.publish(image_message(stamp_s=100))
    wait_until(lambda: depths, "the next depth")
    assert not is_in_metres(), "neither the scale nor the points are remembered"
    repeat_until(lambda: send(101), is_in_metres, "the scale, anew")
    wait_until(lambda: reports and int(value(reports[-1], "input", "processed")) > 2, "counts that go on")


def test_a_window_and_a_video_begin_anew_where_they_forget() -> None:
    class Views:
        name, claim, device = "views", ScaleClaim("metric", "camera"), None

    window: Any = ViewWindow(Views(), 3)  # type: ignore[arg-type]
    window._past.answered("first", 5, (4, 6))
    window._images = (object(),)
    forget(window)
    assert (window.remembered, window._images) == (0, ())
    forget(None)  # no second model
    past = Past(2)
    past.answered("first", 5, "same")
    assert past.place(6, "same") == "next"
    past.forget()
    assert past.place(6, "same") == "first"


def test_tf_is_subscribed_where_points_need_it_and_what_is_static_reaches_a_late_node(graph: Graph) -> None:
    message_type = pytest.importorskip(
        "tf2_msgs.msg", reason="tf2_msgs is in no wheel: this runs where a ROS 2 is installed"
    ).TFMessage
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static, moving = (
        graph.client.create_publisher(message_type, "/tf_static", latched),
        graph.client.create_publisher(message_type, "/tf", 10),
    )
    mount, drive = TransformStamped(child_frame_id="camera_optical"), TransformStamped(child_frame_id="base")
    mount.header.frame_id, drive.header.frame_id = "base", "odom"
    mount.transform.translation.z = 1.0
    static.publish(message_type(transforms=[mount]))
    node = graph.depth_node(SlantedWall(), align="scale")
    assert node._processor is not None
    transforms = node._processor.transforms
    wait_until(lambda: moving.get_subscription_count() == 1, "the node's subscription")

    def known() -> bool:
        with suppress(TransformError):
            return transforms.lookup("odom", "camera_optical", 100_500_000_000) == (0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        return False

    def drive_on() -> None:
        for second in (0, 1):
            drive.header.stamp.sec, drive.transform.translation.x = 100 + second, float(second)
            moving.publish(message_type(transforms=[drive]))

    repeat_until(drive_on, known, "both")
    graph.depth_node(SlantedWall(), align="scale", sparse_points_pose=[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], name="fixed")
    assert moving.get_subscription_count() == 1, "a fixed pose needs none"
