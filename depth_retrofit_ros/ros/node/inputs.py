"""What the node subscribes to while it is active: the images while they are wanted, the rest all the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_retrofit_ros.ros.node.lazy_input import LazyInput
from depth_retrofit_ros.ros.node.tf_listener import listen
from depth_retrofit_ros.ros.transport.graph_checks import LossWatch, transport_problems, type_problems
from depth_retrofit_ros.ros.transport.qos import subscribe_newest

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from depth_retrofit_ros.ros.health.diagnostics import Health
    from depth_retrofit_ros.ros.node.processor import Processor


class Inputs:
    """The subscriptions of one node. For the executor's thread; tells ``health`` their topics, and whether the image has one."""

    def __init__(self, node: Node, health: Health) -> None:
        self._node = node
        self._health = health
        self._lasting: list[Subscription] = []  # but for the images and TF
        self._tf: list[Subscription] = []
        self._images: LazyInput | None = None
        self._losses = LossWatch()

    @property
    def lost(self) -> int:
        """Images that the transport lost on their way here, since the inputs were opened last."""
        return self._losses.total

    def open(self, processor: Processor) -> None:
        """Bring the processor what it is for. Raises GraphError, and may then be open in part."""
        settings, health = self._health.settings, self._health
        compressed = settings.image_transport == "compressed"
        # As image_transport does it: the base topic is remapped, then the transport's suffix follows.
        topic = self._node.resolve_topic_name("image") + ("/compressed" if compressed else "")
        # camera_info and sparse depth first, so that they are there when the first image is.
        health.info_topic = self._listen(CameraInfo, "camera_info", processor.offer_info)
        health.sparse_topics = ()
        if processor.wants_sparse:
            sparse = ((Image, "sparse_depth"), (PointCloud2, "sparse_points"))
            health.sparse_topics = tuple(self._listen(kind, name, processor.offer) for kind, name in sparse)
        self._follow_transforms(processor)
        self._losses = losses = LossWatch()

        def on_image(message: Image | CompressedImage) -> None:
            losses.arrived()
            processor.submit(message)

        kind = CompressedImage if compressed else Image
        self._images = LazyInput(
            lambda: subscribe_newest(self._node, kind, topic, on_image, losses.lost),
            self._node.destroy_subscription,
            lambda: not health.settings.lazy or processor.wants_images,
        )
        self.refresh()
        assert self._images.subscription is not None  # the first image is wanted
        health.image_topic = self._images.subscription.topic_name

    def settings_changed(self, processor: Processor) -> None:
        """Subscribe to what has come to be of use, and end what is no longer. Raises GraphError."""
        if self._images is not None:
            self.refresh()
            self._follow_transforms(processor)

    def refresh(self) -> None:
        """Subscribe to the image where it is of use, and end that where it has not been for a while. Raises GraphError."""
        if self._images is not None:
            self._images.refresh()
            self._health.asleep = self._images.subscription is None

    def close(self) -> None:
        """Take all subscriptions from the graph."""
        if self._images is not None:
            self._images.close()
            self._images = None
        self._health.asleep = False
        self._end(self._lasting)
        self._end(self._tf)

    def problems(self) -> dict[str, list[str]]:
        """By concern, what keeps messages from coming in. To be asked once a second."""
        images = self._images.subscription if self._images else None
        lasting = [*self._lasting, *self._tf]
        subscriptions = lasting if images is None else [*lasting, images]
        return {"types on the graph": type_problems(self._node, subscriptions), "transport of the images": self._of_transport()}

    def _of_transport(self) -> list[str]:
        if not self._lasting:
            return []
        topic, base = self._health.image_topic, self._node.resolve_topic_name("image")
        return self._losses.check(topic) + transport_problems(self._node, topic, base, self._health.settings.image_transport)

    def _follow_transforms(self, processor: Processor) -> None:
        """Listen to TF where it is of use, and no longer."""
        if processor.needs_transforms and not self._tf:
            self._tf = listen(self._node, processor.transforms)
        elif not processor.needs_transforms:
            self._end(self._tf)

    def _end(self, subscriptions: list[Subscription]) -> None:
        for subscription in subscriptions:
            self._node.destroy_subscription(subscription)
        subscriptions.clear()

    def _listen(self, message_type: type, topic: str, callback: Callable[[Any], None]) -> str:
        """Subscribe; returns the topic's full name after remapping. Raises GraphError."""
        subscription = subscribe_newest(self._node, message_type, topic, callback)
        self._lasting.append(subscription)
        return subscription.topic_name
