"""What keeps images away without a word: told within two seconds, once, in the log and in the diagnostics."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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

from depth_retrofit_ros.ros.transport.dds_profile import PROFILE_VARIABLES
from depth_retrofit_ros.ros.transport.graph_checks import WINDOW, LossWatch
from test.ros.graph import NODE, Graph, SlantedWall, image_message, status, value, wait_until

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


CAMERA = """
import array, sys, time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "/image", qos_profile_sensor_data)
size = 3 * 2560 * 1440
image = Image(height=1440, width=2560, encoding="rgb8", step=7680, data=array.array("B", bytes(size)))
while True:
    publisher.publish(image)
    time.sleep(0.1)
"""


@contextmanager
def camera(**environment: str) -> Iterator[None]:
    """A camera's process of 2560x1440 rgb8 at 10 Hz, with these variables."""
    inherited = {name: text for name, text in os.environ.items() if name not in PROFILE_VARIABLES}
    process = subprocess.Popen([sys.executable, "-c", CAMERA], env={**inherited, **environment})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_camera_without_the_profile_is_told_with_the_profile(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    with camera():
        wait_until(lambda: reports and status(reports[-1], "graph").level == DiagnosticStatus.WARN, "the diagnostics")
        (line,) = graph.warnings(node)
        assert line.startswith("images on /image get lost between their publisher and this node: ") and "\n" not in line
        assert all(f"{name}={os.environ[name]}" in line for name in PROFILE_VARIABLES)
        assert int(value(reports[-1], "graph", "lost in transport")) >= 3
        count = len(reports)
        wait_until(lambda: len(reports) >= count + 2, "two more reports")
        assert len(graph.warnings(node)) == 1, "once"


def test_a_camera_with_the_profile_is_no_news_however_few_of_its_images_are_taken(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), target_fps=0.5)
    graph.listen(Image, f"{NODE}/depth/preview")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    with camera(**{name: os.environ[name] for name in PROFILE_VARIABLES}):
        wait_until(lambda: reports and int(value(reports[-1], "input", "dropped")) >= 10, "drops, which are no losses")
    assert not [line for line in graph.warnings(node) if "get lost" in line]
    assert status(reports[-1], "graph").level == DiagnosticStatus.OK


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
