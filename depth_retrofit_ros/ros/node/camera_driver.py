"""A camera of this machine beside the depth node, in its process: for whoever has no ROS driver for it.

Publishes   the depth node's ``image`` and ``camera_info``, whatever these are remapped to
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.errors import CameraError, ImageError
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger, one_line
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.ros.transport.qos import LARGE_DEPTH, SMALL_DEPTH, publish_to

if TYPE_CHECKING:
    import numpy as np
    from rclpy.context import Context

    from depth_retrofit_ros.io.camera_capture import CameraSource

FRAME_ID = "camera_optical_frame"
RETRY_S = 1.0
JOIN_S = 1.0

InfoOf = Callable[[int, int], CameraInfo]
"""camera_info of images of width, height, but for its header; CameraError where it cannot be that."""


class CameraDriver:
    """Reads an opened ``source`` in a thread of its own, and publishes while somebody subscribes to the images.

    Where it gives no image any more, that is told, and it is opened again every ``retry_s`` until it does.
    """

    def __init__(
        self,
        source: CameraSource,
        info_of: InfoOf,
        image_topic: str,
        info_topic: str,
        context: Context | None = None,
        retry_s: float = RETRY_S,
    ) -> None:
        # Its topics are the depth node's, with all remappings; a rule such as __node:=front is of that one alone.
        self._node = Node("camera", context=context, use_global_arguments=False, start_parameter_services=False)
        self._log = ThrottledLogger(self._node.get_logger())
        self._source, self._info_of, self._retry_s = source, info_of, retry_s
        self._images = publish_to(self._node, Image, image_topic, LARGE_DEPTH)
        self._infos = publish_to(self._node, CameraInfo, info_topic, SMALL_DEPTH)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self, told: str) -> None:
        """told: by the source when it was opened."""
        self._node.get_logger().info(told)
        self._thread.start()

    def stop(self) -> None:
        """Let go of the camera, and of the graph. What does not come back from its driver within ``JOIN_S`` is left behind."""
        self._stop.set()
        self._source.interrupt()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        self._node.destroy_node()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                image = self._source.read()
                if image is not None:
                    self._log.state(self._source.name, None)
                    self._publish(image)
                elif not self._stop.is_set():
                    self._open_again()
        except Exception as error:  # a context that a signal shut down is none of our business
            if self._node.context.ok() and not self._stop.is_set():
                self._node.get_logger().error(f"{self._source.name} is given up: {one_line(error)}")
        finally:
            self._source.close()

    def _open_again(self) -> None:
        name = self._source.name
        self._log.state(name, f"{name} gives no image any more: trying again every {self._retry_s:g} s, is it plugged in?")
        while not self._stop.wait(self._retry_s):
            try:
                given = self._source.open()
            except ImageError:
                continue
            self._node.get_logger().info(given.told)
            return

    def _publish(self, image: np.ndarray) -> None:
        if not self._images.get_subscription_count():
            return  # the depth node listens while somebody listens to it
        height, width = image.shape[:2]
        stamp = self._node.get_clock().now().to_msg()
        try:
            info = self._info_of(width, height)
        except CameraError as error:  # it came back with images of another shape
            self._log.failure(error)
            return
        message = Image(height=height, width=width, encoding=self._source.encoding, step=3 * width)
        message.data.frombytes(image.tobytes())
        for header in (info.header, message.header):
            header.stamp, header.frame_id = stamp, FRAME_ID
        self._infos.publish(info)
        self._images.publish(message)


class DepthNodeOfCamera(DepthNode):
    """The depth node, with the camera whose images it takes; they end together. source, info_of: see ``CameraDriver``."""

    def __init__(self, source: CameraSource, info_of: InfoOf, **options: Any) -> None:
        given = source.open()
        self._driver: CameraDriver | None = None
        try:
            info_of(given.width, given.height)
            super().__init__(**options)
            topics = self.resolve_topic_name("image"), self.resolve_topic_name("camera_info")
            self._driver = CameraDriver(source, info_of, *topics, context=self.context)
        except BaseException:
            source.close()
            raise
        self._driver.start(given.told)

    def destroy_node(self) -> None:
        """The camera first, so that it publishes into nothing that is gone."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.stop()
        super().destroy_node()
