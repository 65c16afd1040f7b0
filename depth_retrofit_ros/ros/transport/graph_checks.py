"""What on the graph keeps images away from the node without a word: another type on the topic, a second node of the same name, and
a transport that loses large messages."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from depth_retrofit_ros.ros.transport.dds_profile import PROFILE_VARIABLES

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription

WINDOW = 5  # checks, of one a second
LOST_AT_LEAST, LOST_SHARE = 3, 0.1  # within the window: one image that got lost is no news, a tenth of them is

_REMEDIES = {
    ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"): (
        "remap image to the base topic, without the transport's suffix, and set image_transport to compressed"
    ),
    ("sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"): "set image_transport to raw and remap image to that topic",
}
"""(ours, theirs) → what to do."""


def type_problems(node: Node, subscriptions: Iterable[Subscription]) -> list[str]:
    """One line for each of these topics on which somebody publishes another type: the middleware connects nothing, silently."""
    problems = []
    for subscription in subscriptions:
        topic, ours = subscription.topic_name, _type_name(subscription.msg_type)
        others = {endpoint.topic_type for endpoint in node.get_publishers_info_by_topic(topic)} - {ours}
        for theirs in sorted(others):
            remedy = _REMEDIES.get((ours, theirs), "remap one of them to another topic")
            problems.append(f"{topic} is published as {theirs}, and this node takes {ours}: {remedy}")
    return problems


def transport_problems(node: Node, topic: str, base: str, transport: str) -> list[str]:
    """One line where nobody publishes images as the node takes them, and somebody does by image_transport's other way.

    topic: of the node's subscription. base: of the images, resolved, without a transport's suffix; transport: "raw", "compressed".
    """
    other, kind, remedy = {
        "raw": (f"{base}/compressed", "sensor_msgs/msg/CompressedImage", "compressed"),
        "compressed": (base, "sensor_msgs/msg/Image", "raw"),
    }[transport]
    if node.get_publishers_info_by_topic(topic):
        return []
    if kind not in {endpoint.topic_type for endpoint in node.get_publishers_info_by_topic(other)}:
        return []
    return [f"images are published on {other} alone, and this node takes {topic}: set image_transport to {remedy}"]


def name_problems(node: Node) -> list[str]:
    """One line where another node has this one's name: services, parameters and outputs of the two cannot be told apart."""
    same = node.get_node_names_and_namespaces().count((node.get_name(), node.get_namespace()))
    if same < 2:
        return []
    name = node.get_fully_qualified_name()
    return [f"{same} nodes are called {name} (one may have died within the last half minute): start one with -r __node:=OTHER_NAME"]


class LossWatch:
    """Whether the transport loses a share of the messages of a topic that is worth a word.

    The count of the lost comes from the middleware, which sees gaps in the numbers that each publisher gives its messages. A camera
    that skips images, or a node too slow to take each, leaves no such gap. Thread-safe.
    """

    def __init__(self) -> None:
        self.total = 0
        self._lost = 0
        self._arrived = 0
        self._window: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self._lock = threading.Lock()

    def arrived(self) -> None:
        """A message came."""
        with self._lock:
            self._arrived += 1

    def lost(self, count: int) -> None:
        """The middleware says that so many did not."""
        with self._lock:
            self._lost += count
            self.total += count

    def check(self, topic: str) -> list[str]:
        """One line with the remedy where messages get lost. To be asked once a second."""
        with self._lock:
            self._window.append((self._lost, self._arrived))
            self._lost = self._arrived = 0
            lost, arrived = (sum(counts) for counts in zip(*self._window, strict=True))
        if lost < LOST_AT_LEAST or lost < LOST_SHARE * (lost + arrived):
            return []
        return [f"images on {topic} get lost between their publisher and this node: {transport_remedy()}"]


def transport_remedy() -> str:
    """What to do about it, with this process's own DDS profile where it has one."""
    profile = next((os.environ[name] for name in PROFILE_VARIABLES if os.environ.get(name)), None)
    if profile is None:
        return "give the middleware room for messages of that size in both processes"
    variables = " ".join(f"{name}={profile}" for name in PROFILE_VARIABLES)
    return (
        f"start the camera's process with the DDS profile of this one ({variables}), in Docker with --ipc=host or --shm-size=1g; "
        "from another machine take image_transport compressed"
    )


def _type_name(message_type: type) -> str:
    """As the graph shows it, such as ``sensor_msgs/msg/Image``."""
    package, kind, *_ = message_type.__module__.split(".")
    return f"{package}/{kind}/{message_type.__name__}"
