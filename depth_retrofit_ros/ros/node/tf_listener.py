"""The subscriptions of /tf and /tf_static."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from depth_retrofit_ros.ros.node.transforms import Transforms

TF, TF_STATIC = "/tf", "/tf_static"  # tf2's own names, for remapping
MISSING = "TF needs the package tf2_msgs, which is not installed (apt install ros-$ROS_DISTRO-tf2-msgs)"
_DEPTH = 100  # messages, as tf2 has it


@cache
def tf_message() -> Any:
    """The class of TF's message; None where there is none. It comes with every ROS 2, and with no Python wheel."""
    try:
        return import_module("tf2_msgs.msg").TFMessage
    except ImportError:
        return None


def missing() -> str:
    """Why no transform can come here; empty where they can."""
    return "" if tf_message() is not None else MISSING


def listen(node: Node, transforms: Transforms) -> list[Subscription]:
    """Feed ``transforms`` from the graph. Every message costs the executor's thread some time: to be called where it is used."""
    kind = tf_message()
    if kind is None:
        return []

    def qos(durability: DurabilityPolicy) -> QoSProfile:
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability
        )

    def moving(message: Any) -> None:
        transforms.offer(message.transforms, is_static=False)

    def static(message: Any) -> None:
        transforms.offer(message.transforms, is_static=True)

    return [
        node.create_subscription(kind, TF, moving, qos(DurabilityPolicy.VOLATILE)),
        node.create_subscription(kind, TF_STATIC, static, qos(DurabilityPolicy.TRANSIENT_LOCAL)),
    ]
