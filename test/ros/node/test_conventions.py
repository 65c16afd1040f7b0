"""What other ROS programs may rely on: QoS and its overrides, frames, raw depth, clocks. docs/conventions.md lists them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.msg import FrameStats
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, repeat_until, status, wait_until

OUTPUTS = (
    "depth/image_rect",
    "depth/image_rect_raw",
    "depth/camera_info",
    "depth/preview",
    "depth/selection",
    "points",
    "normals",
    "normals/preview",
    "depth/confidence",
    "depth/confidence_8bit",
    "frame_stats",
)
ALL = ["depth", "depth_mm", "points", "preview", "selection", "normals", "normals_preview", "confidence", "confidence_8bit"]
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def overriding(**overrides: str) -> list[str]:
    """ROS arguments; ``image_subscription_depth="3"`` is the override of that policy of that endpoint."""
    words = ["--ros-args"]
    for name, value in overrides.items():
        topic, kind, policy = name.rsplit("_", 2)
        words += ["-p", f"qos_overrides./{topic}.{kind}.{policy}:={value}"]
    return words


def test_publishers_are_reliable_and_subscriptions_best_effort_keep_last_1(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), outputs=ALL, align="scale")
    ours = {publisher.topic_name: publisher.qos_profile for publisher in node.publishers}
    for topic in (*(f"{NODE}/{name}" for name in OUTPUTS), "/diagnostics"):
        profile = ours[topic]
        assert (profile.reliability, profile.history) == (ReliabilityPolicy.RELIABLE, HistoryPolicy.KEEP_LAST), topic
    for name in ("image", "camera_info", "sparse_depth", "sparse_points"):
        (endpoint,) = (subscription for subscription in node.subscriptions if subscription.topic_name == f"/{name}")
        profile = endpoint.qos_profile
        assert (profile.reliability, profile.depth) == (ReliabilityPolicy.BEST_EFFORT, 1), name
    # As the middleware tells others, which does not pass on queue lengths.
    wait_until(lambda: graph.client.get_publishers_info_by_topic(f"{NODE}/points"), "the publisher on the graph")
    (shown,) = graph.client.get_publishers_info_by_topic(f"{NODE}/points")
    assert shown.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    (shown,) = graph.client.get_subscriptions_info_by_topic("/image")
    assert shown.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def test_every_topic_of_ours_is_open_to_overrides_and_one_does_not_change_another(graph: Graph) -> None:
    arguments = overriding(image_subscription_depth="3", image_subscription_reliability="reliable")
    arguments += ["-p", f"qos_overrides.{NODE}/points.publisher.depth:=7"]
    node = graph.depth_node(SlantedWall(), outputs=ALL, align="scale", cli_args=arguments)
    for topic in (*(f"{NODE}/{name}.publisher" for name in OUTPUTS), "/diagnostics.publisher"):
        for policy in ("reliability", "depth", "history", "durability"):
            assert node.has_parameter(f"qos_overrides.{topic}.{policy}")
    for name in ("image", "camera_info", "sparse_depth", "sparse_points"):
        assert node.has_parameter(f"qos_overrides./{name}.subscription.reliability")
    subscriptions = {subscription.topic_name: subscription.qos_profile for subscription in node.subscriptions}
    assert (subscriptions["/image"].reliability, subscriptions["/image"].depth) == (ReliabilityPolicy.RELIABLE, 3)
    assert (subscriptions["/camera_info"].reliability, subscriptions["/camera_info"].depth) == (ReliabilityPolicy.BEST_EFFORT, 1)
    publishers = {publisher.topic_name: publisher.qos_profile.depth for publisher in node.publishers}
    assert (publishers[f"{NODE}/points"], publishers[f"{NODE}/depth/image_rect"]) == (7, 2)


def test_an_override_that_means_nothing_is_one_line(graph: Graph) -> None:
    arguments = ["--ros-args", "-p", f"qos_overrides.{NODE}/points.publisher.reliability:=sometimes"]
    node = graph.depth_node(SlantedWall(), start=False, outputs=["depth"], cli_args=arguments)
    assert node.autostart(), "nobody makes that publisher yet"
    result = graph.set_parameter(node, "outputs", ["depth", "preview", "points"])
    assert not result.successful and "sometimes" in result.reason and "\n" not in result.reason
    assert node.settings.outputs == ("depth",)
    assert not graph.client.count_publishers(f"{NODE}/depth/preview"), "all or nothing"
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert graph.set_parameter(node, "outputs", ["points"]).successful
    assert not node.autostart()
    assert "qos_overrides" in graph.warnings(node)[-1]


def test_a_subscription_that_asks_for_more_is_told_with_the_remedy_and_the_remedy_works(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    received: list[Image] = []
    topic = f"{NODE}/depth/image_rect"
    graph.client.create_subscription(Image, topic, received.append, LATCHED)
    wait_until(lambda: graph.warnings(node), "the line about it")
    (line,) = graph.warnings(node)
    remedy = f"qos_overrides.{topic}.publisher.durability:=transient_local"
    assert topic in line and remedy in line and "\n" not in line
    node.destroy_node()
    graph.depth_node(SlantedWall(), cli_args=["--ros-args", "-p", remedy])
    images = graph.publisher(Image, "/image")
    repeat_until(lambda: images.publish(image_message()), lambda: received, "depth")


def test_a_publisher_that_offers_less_is_told_with_the_remedy(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), cli_args=overriding(image_subscription_reliability="reliable"))
    graph.client.create_publisher(Image, "/image", qos_profile_sensor_data)
    wait_until(lambda: graph.warnings(node), "the line about it")
    (line,) = graph.warnings(node)
    assert "/image offers" in line and "qos_overrides./image.subscription.reliability:=best_effort" in line


def test_a_latched_camera_info_can_be_had(graph: Graph) -> None:
    """Sent once, before we came: as a node does that has read it from a file."""
    latched = graph.client.create_publisher(CameraInfo, "/camera_info", LATCHED)
    latched.publish(info_message())
    wanted = {"camera_info_subscription_durability": "transient_local", "camera_info_subscription_reliability": "reliable"}
    graph.depth_node(SlantedWall(), cli_args=overriding(**wanted))
    clouds = graph.listen(PointCloud2, f"{NODE}/points")
    images = graph.publisher(Image, "/image")
    repeat_until(lambda: images.publish(image_message()), lambda: clouds, "the cloud")


def test_the_frame_is_kept_and_no_transform_published(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), outputs=ALL)
    kinds = {"depth/camera_info": CameraInfo, "points": PointCloud2, "frame_stats": FrameStats}
    received = {name: graph.listen(kinds.get(name, Image), f"{NODE}/{name}") for name in OUTPUTS}
    info = info_message()
    info.header.frame_id = "elsewhere"
    graph.publisher(CameraInfo, "/camera_info").publish(info)
    image = image_message(frame_id="some/strange frame")
    graph.publisher(Image, "/image").publish(image)
    wait_until(lambda: all(received.values()), "every output")
    for name, (message,) in received.items():
        assert message.header == image.header, name
    assert graph.client.count_publishers("/tf") == graph.client.count_publishers("/tf_static") == 0


def test_raw_depth_is_the_depth_in_millimetres(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), outputs=["depth", "depth_mm"])
    depths, raws = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(Image, f"{NODE}/depth/image_rect_raw")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    graph.publisher(Image, "/image").publish(image_message())
    wait_until(lambda: depths and raws, "both")
    (raw,) = raws
    assert (raw.encoding, raw.height, raw.width, raw.step, raw.is_bigendian) == ("16UC1", 48, 64, 128, 0)
    millimeters = np.frombuffer(raw.data, np.uint16).reshape(48, 64)
    np.testing.assert_array_equal(millimeters, np.rint(pixels_of(depths[0]).astype(float) * 1000))


def test_relative_depth_is_never_millimetres(graph: Graph) -> None:
    graph.depth_node(SlantedWall(metric=False), outputs=["depth", "depth_mm"])
    depths, raws = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(Image, f"{NODE}/depth/image_rect_raw")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    for number in (1, 2, 3):
        images.publish(image_message(stamp_s=number))
        wait_until(lambda n=number: len(depths) == n, f"depth {number}")  # type: ignore[misc]
    assert not raws


@pytest.mark.usefixtures("often")
def test_diagnostics_come_although_the_simulated_clock_stands_still(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), use_sim_time=True)
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: len(reports) >= 2, "reports")
    assert (reports[-1].header.stamp.sec, reports[-1].header.stamp.nanosec) == (0, 0), "of the node's clock"
    wait_until(lambda: graph.warnings(node), "the warning")
    (line,) = graph.warnings(node)
    assert "use_sim_time" in line and "/clock" in line
    clock = graph.publisher(Clock, "/clock")
    now = Clock()
    now.clock.sec = 101
    repeat_until(lambda: clock.publish(now), lambda: reports[-1].header.stamp.sec == 101, "a report with the simulated time")
    assert len(graph.warnings(node)) == 1


@pytest.mark.parametrize(("stamp_s", "told"), [(100, "behind"), (4_000_000_000 // 2, "ahead"), (0, "zero")])
def test_stamps_of_another_clock_are_told_and_kept(graph: Graph, stamp_s: int, told: str) -> None:
    graph.depth_node(SlantedWall())
    depths, reports = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")
    image = image_message(stamp_s=stamp_s)
    if stamp_s == 0:
        image.header.stamp.nanosec = 0

    def of_input() -> Any:
        return status(reports[-1], "input")

    repeat_until(lambda: images.publish(image), lambda: depths and reports and told in of_input().message, "the warning")
    assert of_input().level == DiagnosticStatus.WARN
    assert depths[0].header == image.header
