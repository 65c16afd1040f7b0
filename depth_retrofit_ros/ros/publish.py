"""The node's outputs: messages whose memory is allocated once per image size and written in place.

Assigning bytes, lists or arrays to ``msg.data`` costs 10 to 1000 times the copy itself (rclpy #763). Here ``msg.data`` stays the
same ``array.array`` from frame to frame, and whoever computes an output writes straight into it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.pointcloud import POINT_STEP, cloud_size, fill_cloud
from depth_retrofit_ros.preview import colourise
from depth_retrofit_ros.ros.calibration import info_for_image

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from std_msgs.msg import Header

LARGE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=2, reliability=ReliabilityPolicy.RELIABLE)
SMALL = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)


class ImageMessage:
    """An ``Image`` that is reused: ``prepare`` gives its pixels to write to."""

    def __init__(self, encoding: str, dtype: type[np.generic], channels: int) -> None:
        self.message = Image(encoding=encoding, is_bigendian=int(sys.byteorder == "big"))
        self._dtype = np.dtype(dtype)
        self._channels = channels

    def prepare(self, height: int, width: int, header: Header) -> np.ndarray:
        """The message's own memory as ``[H, W]`` or, with several channels, ``[H, W, channels]``."""
        message = self.message
        message.header = header
        message.height, message.width = height, width
        message.step = width * self._channels * self._dtype.itemsize
        shape = (height, width) if self._channels == 1 else (height, width, self._channels)
        return _memory(message, height * message.step).view(self._dtype).reshape(shape)


class CloudMessage:
    """A ``PointCloud2`` of x, y, z, rgb (16 bytes per point) that is reused: ``prepare`` gives its points to write to."""

    def __init__(self) -> None:
        fields = [
            PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
            for name, offset in (("x", 0), ("y", 4), ("z", 8), ("rgb", 12))
        ]
        self.message = PointCloud2(fields=fields, point_step=POINT_STEP, is_dense=False, is_bigendian=sys.byteorder == "big")

    def prepare(self, height: int, width: int, header: Header) -> np.ndarray:
        """The message's own memory as ``float32 [h, w, 4]``."""
        message = self.message
        message.header = header
        message.height, message.width = height, width
        message.row_step = width * POINT_STEP
        return _memory(message, height * message.row_step).view(np.float32).reshape(height, width, 4)


def _memory(message: Any, size: int) -> np.ndarray:
    """``message.data`` as uint8 [size], allocated anew only where the size changed."""
    if len(message.data) != size:
        message.data = bytes(size)
    return np.frombuffer(message.data, np.uint8)


class Outputs:
    """The publishers, and the work that each of them needs; what nobody subscribes to is not computed."""

    def __init__(self, node: Node) -> None:
        def publisher(message_type: type, topic: str, qos: QoSProfile) -> Publisher:
            options = QoSOverridingOptions.with_default_policies()
            return node.create_publisher(message_type, topic, qos, qos_overriding_options=options)

        self._node = node
        self._depth = publisher(Image, "~/depth/image_rect", LARGE)
        self._info = publisher(CameraInfo, "~/depth/camera_info", SMALL)
        self._points = publisher(PointCloud2, "~/points", LARGE)
        self._preview = publisher(Image, "~/depth/preview", LARGE)
        self._stats = publisher(FrameStats, "~/frame_stats", SMALL)
        self._depth_message = ImageMessage("32FC1", np.float32, 1)
        self._points_message = CloudMessage()
        self._preview_message = ImageMessage("rgb8", np.uint8, 3)

    @property
    def wanted(self) -> bool:
        """Whether anybody listens to anything."""
        return any(publisher.get_subscription_count() > 0 for publisher in self._publishers)

    def publish(self, frame: Frame, result: DepthFrame, header: Header, info: CameraInfo | None, stride: int) -> dict[str, float]:
        """Send depth, camera_info, cloud and preview to whoever listens; returns the wall time [ms] of each that was sent.

        header: the image's own, used as it is. info: as received, None where there is none for this image. stride: of the cloud,
        which is sent only where the depth is metric.
        """
        times_ms: dict[str, float] = {}

        def send(name: str, publisher: Publisher, make: Callable[[], Any]) -> None:
            if publisher.get_subscription_count() > 0:
                start = time.perf_counter()
                publisher.publish(make())
                times_ms[name] = 1e3 * (time.perf_counter() - start)

        depth = cache(lambda: result.depth.cpu().numpy())  # copied from the device once, and only if somebody listens
        send("depth", self._depth, lambda: self._make_depth(depth(), header))
        if info is not None and frame.camera is not None:
            camera = frame.camera
            send("camera_info", self._info, lambda: info_for_image(info, camera, header))
        if result.metric and frame.camera is not None:
            send("cloud", self._points, lambda: self._make_cloud(depth(), frame, header, stride))
        send("preview", self._preview, lambda: self._make_preview(depth(), header))
        return times_ms

    def publish_stats(self, stats: FrameStats) -> None:
        """Send the statistics of one frame, if anybody listens."""
        if self._stats.get_subscription_count() > 0:
            self._stats.publish(stats)

    def destroy(self) -> None:
        """Take the publishers from the graph and free the messages."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    @property
    def _publishers(self) -> tuple[Publisher, ...]:
        return self._depth, self._info, self._points, self._preview, self._stats

    def _make_depth(self, depth: np.ndarray, header: Header) -> Image:
        np.copyto(self._depth_message.prepare(depth.shape[0], depth.shape[1], header), depth)
        return self._depth_message.message

    def _make_cloud(self, depth: np.ndarray, frame: Frame, header: Header, stride: int) -> PointCloud2:
        assert frame.camera is not None
        points = self._points_message.prepare(*cloud_size(depth.shape[0], depth.shape[1], stride), header)
        fill_cloud(depth, frame.image, frame.camera, points, stride)
        return self._points_message.message

    def _make_preview(self, depth: np.ndarray, header: Header) -> Image:
        colourise(depth, out=self._preview_message.prepare(depth.shape[0], depth.shape[1], header))
        return self._preview_message.message
