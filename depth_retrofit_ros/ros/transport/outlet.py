"""Where an output leaves the node: a publisher that takes messages of Python and serialized ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_retrofit_ros.ros.transport.qos import publish_to
from depth_retrofit_ros.ros.transport.rcl_publish import rcl_publish

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher


COPIES = "as copies, which takes longer and holds up other threads: rcl cannot be called past this rclpy"


class Outlet:
    """A publisher of ``node``. Serialized messages go out from where they lie, or, where rcl offers no way, as a copy."""

    def __init__(self, node: Node, publisher: Publisher) -> None:
        self._node = node
        self._publisher = publisher
        self._publish_in_place = rcl_publish()

    def publish(self, message: Any) -> None:
        """A message of Python's, or a serialized one: contiguous ``uint8 [n]``, the caller's again afterwards. See rclpy's."""
        if not isinstance(message, np.ndarray):
            self._publisher.publish(message)
        elif self._publish_in_place is None:
            self._publisher.publish(message.tobytes())
        else:
            self._publish_in_place(self._publisher, message)

    def get_subscription_count(self) -> int:
        """See rclpy's."""
        return int(self._publisher.get_subscription_count())

    def destroy(self) -> None:
        """Take it from the graph."""
        self._node.destroy_publisher(self._publisher)


def outlet(node: Node, message_type: type, topic: str, depth: int, matched: Callable[[], None] | None = None) -> Outlet:
    """See ``outputs.MakeDestination``, and ``qos.publish_to`` for matched and for what it raises."""
    return Outlet(node, publish_to(node, message_type, topic, depth, matched))


def way_out() -> str:
    """Which of its two ways serialized messages take here, in words."""
    return COPIES if rcl_publish() is None else "where they lie"
