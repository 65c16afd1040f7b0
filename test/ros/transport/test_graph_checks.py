"""What keeps images away without a word: told within two seconds, once, in the log and in the diagnostics."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.event_handler import UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_retrofit_ros.ros.node import inputs
from depth_retrofit_ros.ros.transport.dds_profile import PROFILE_VARIABLES
from depth_retrofit_ros.ros.transport.graph_checks import WINDOW, LossWatch
from test.ros.graph import NODE, Graph, SlantedWall, image_message, status, value, wait_until

pytestmark = pytest.mark.usefixtures("often")

OTHER_TYPES: list[tuple[dict[str, Any], type, str, str]] = [
    ({}, CompressedImage, "/image", "set image_transport to compressed"),
    ({"image_transport": "compressed"}, Image, "/image/compressed", "set image_transport to raw"),
    ({}, Image, "/camera_info", "remap one of them"),
    ({"align": "scale"}, CameraInfo, "/sparse_points", "remap one of them"),
]


@pytest.fixture
def other() -> Iterator[Node]:
    """A node of another participant: the middleware refuses two types of one topic within one."""
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("other", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


@pytest.mark.parametrize(("parameters", "message_type", "topic", "remedy"), OTHER_TYPES)
def test_another_type_on_a_topic_is_told_with_the_remedy(
    graph: Graph, other: Node, parameters: dict[str, Any], message_type: type, topic: str, remedy: str
) -> None:
    node = graph.depth_node(SlantedWall(), **parameters)
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    other.create_publisher(message_type, topic, qos_profile_sensor_data)
    wait_until(lambda: reports and status(reports[-1], "graph").level == DiagnosticStatus.WARN, "the diagnostics")
    (line,) = graph.warnings(node)
    assert line.startswith(f"{topic} is published as sensor_msgs/msg/{message_type.__name__}, and this node takes ")
    assert remedy in line and "\n" not in line and status(reports[-1], "graph").message == line
    told, before = len(graph.warnings(node)), len(reports)
    wait_until(lambda: len(reports) >= before + 2, "two more reports")
    assert len(graph.warnings(node)) == told, "once"
    other.destroy_node()
    wait_until(lambda: status(reports[-1], "graph").level == DiagnosticStatus.OK, "the end of it")


OTHER_TRANSPORTS: list[tuple[str, type, str, str]] = [
    ("raw", CompressedImage, "/image/compressed", "set image_transport to compressed"),
    ("compressed", Image, "/image", "set image_transport to raw"),
]


@pytest.mark.parametrize(("transport", "message_type", "topic", "remedy"), OTHER_TRANSPORTS)
def test_images_by_the_other_transport_alone_are_told_with_the_remedy(
    graph: Graph, transport: str, message_type: type, topic: str, remedy: str
) -> None:
    node = graph.depth_node(SlantedWall(), image_transport=transport)
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    graph.client.create_publisher(message_type, topic, qos_profile_sensor_data)
    wait_until(lambda: reports and status(reports[-1], "graph").level == DiagnosticStatus.WARN, "the diagnostics")
    (line,) = graph.warnings(node)
    assert line.startswith(f"images are published on {topic} alone, and this node takes ") and line.endswith(remedy)
    assert status(reports[-1], "graph").message == line
    ours = (Image, "/image") if transport == "raw" else (CompressedImage, "/image/compressed")
    graph.client.create_publisher(*ours, qos_profile_sensor_data)
    wait_until(lambda: status(reports[-1], "graph").level == DiagnosticStatus.OK, "both are published: as it should be")


def test_a_second_node_of_the_same_name_is_told_with_the_remedy(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), start=False)
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    wait_until(lambda: reports, "a report")
    assert status(reports[-1], "graph").level == DiagnosticStatus.OK
    elsewhere = Node("depth_retrofit", namespace="/elsewhere", context=graph.context)
    twin = Node("depth_retrofit", context=graph.context)
    wait_until(lambda: status(reports[-1], "graph").level == DiagnosticStatus.WARN, "the diagnostics")
    (line,) = graph.warnings(node)
    assert line.startswith(f"2 nodes are called {NODE}") and "__node:=" in line and "\n" not in line
    twin.destroy_node()
    wait_until(lambda: status(reports[-1], "graph").level == DiagnosticStatus.OK, "the end of it")
    elsewhere.destroy_node()


def test_the_middleware_s_word_on_losses_is_asked_for(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(LossWatch, "lost", lambda self, count: told.append(count))
    node = graph.depth_node(SlantedWall())
    (images,) = [subscription for subscription in node.subscriptions if subscription.topic_name == "/image"]
    for handler in images.event_handlers:
        if handler.callback.__name__ != "warn":
            handler.callback(SimpleNamespace(total_count_change=7))
    assert told == [7], "of this topic's only event but that of the QoS"


def test_a_camera_whose_images_get_lost_is_told_with_the_profile(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    watches: list[LossWatch] = []

    class Watched(LossWatch):
        def __init__(self) -> None:
            super().__init__()
            watches.append(self)

    monkeypatch.setattr(inputs, "LossWatch", Watched)
    for name in PROFILE_VARIABLES:
        monkeypatch.setenv(name, "/ours.xml")
    node = graph.depth_node(SlantedWall())
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    watches[-1].lost(2)
    count = len(reports)
    wait_until(lambda: len(reports) >= count + 2, "two reports")
    assert not graph.warnings(node), "too few to be worth a word"
    watches[-1].lost(5)
    wait_until(lambda: status(reports[-1], "graph").level == DiagnosticStatus.WARN, "the diagnostics")
    (line,) = graph.warnings(node)
    assert line.startswith("images on /image get lost between their publisher and this node: ") and "\n" not in line
    assert all(f"{name}=/ours.xml" in line for name in PROFILE_VARIABLES)
    assert value(reports[-1], "graph", "lost in transport") == "7"
    count = len(reports)
    wait_until(lambda: len(reports) >= count + 2, "two more reports")
    assert len(graph.warnings(node)) == 1, "once"


def test_losses_are_a_matter_of_share_and_pass() -> None:
    def second(arrived: int, lost: int) -> bool:
        for _ in range(arrived):
            watch.arrived()
        watch.lost(lost)
        return bool(watch.check("/image"))

    watch = LossWatch()
    assert not second(30, 0)
    assert not second(30, 3), "one in twenty"
    assert second(0, 28), "nothing arrives"
    assert [second(30, 0) for _ in range(WINDOW)] == [True] * (WINDOW - 1) + [False]
    assert watch.total == 31
    assert not LossWatch().check("/image")


def test_one_image_that_got_lost_is_no_news() -> None:
    watch = LossWatch()
    watch.lost(1)
    assert not watch.check("/image")


def test_images_still_arrive_where_the_middleware_cannot_tell_losses(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Node.create_subscription

    def unsupporting(self: Node, *arguments: Any, **options: Any) -> Any:
        callbacks = options.get("event_callbacks")
        if callbacks is not None and callbacks.message_lost is not None:
            raise UnsupportedEventTypeError
        return create(self, *arguments, **options)

    monkeypatch.setattr(Node, "create_subscription", unsupporting)
    graph.depth_node(SlantedWall())
    depths, images = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.publisher(Image, "/image")
    images.publish(image_message())
    wait_until(lambda: depths, "depth")
