"""The node's outputs. Whoever computes one writes straight into the message: see ``messages.outgoing``."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from geometry_msgs.msg import PoseArray
from rclpy.exceptions import InvalidHandle
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.lens import RayTable
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.pointcloud.filters import EVERYTHING
from depth_retrofit_ros.pointcloud.organized import cloud_size
from depth_retrofit_ros.ros.messages.calibration import info_for_image
from depth_retrofit_ros.ros.messages.disparity import disparity_type
from depth_retrofit_ros.ros.messages.outgoing import CloudMessage, ImageMessage
from depth_retrofit_ros.ros.node.crop_frame import CropFrame, filter_of
from depth_retrofit_ros.ros.node.derived_messages import DerivedMessages, derived_settings
from depth_retrofit_ros.ros.node.parameters import OUTPUTS
from depth_retrofit_ros.ros.node.transforms import Transforms
from depth_retrofit_ros.ros.transport.outlet import outlet
from depth_retrofit_ros.ros.transport.qos import LARGE_DEPTH, SMALL_DEPTH
from depth_retrofit_ros.runtime.derived_outputs import DERIVED, OF_A_CAMERA, OF_METRIC_DEPTH
from depth_retrofit_ros.runtime.filtered_cloud import failing
from depth_retrofit_ros.runtime.host_outputs import Fill, HostOutputs
from depth_retrofit_ros.runtime.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from rclpy.node import Node
    from std_msgs.msg import Header

    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.reconstruction.refined_view import ViewRefiner
    from depth_retrofit_ros.ros.node.parameters import Settings
    from depth_retrofit_ros.ros.node.views import Window
    from depth_retrofit_ros.runtime.device_outputs import DeviceOutputs
    from depth_retrofit_ros.runtime.filtered_cloud import CloudFill


class Destination(Protocol):
    """What ``Outputs`` needs of a publisher."""

    def publish(self, message: Any) -> None:
        """Send a message, serialized ones as ``uint8 [n]``, whose memory is written again for the next frame."""
        ...

    def get_subscription_count(self) -> int: ...

    def destroy(self) -> None:
        """Take it from the graph."""
        ...


# (node, message type, topic, queue depth) → where the messages of that topic go.
MakeDestination = Callable[["Node", type, str, int], Destination]

# Output → type, topic and queue of its publisher; a function where the type is not part of every installation, and raises what to
# install. The parameter `outputs` chooses among those that are not always offered.
_TOPICS: dict[str, tuple[type | Callable[[], type], str, int]] = {
    "depth": (Image, "~/depth/image_rect", LARGE_DEPTH),
    "depth_mm": (Image, "~/depth/image_rect_raw", LARGE_DEPTH),
    "points": (PointCloud2, "~/points", LARGE_DEPTH),
    "preview": (Image, "~/depth/preview", LARGE_DEPTH),
    "selection": (Image, "~/depth/selection", LARGE_DEPTH),
    "normals": (Image, "~/normals", LARGE_DEPTH),
    "normals_preview": (Image, "~/normals/preview", LARGE_DEPTH),
    "confidence": (Image, "~/depth/confidence", LARGE_DEPTH),
    "confidence_8bit": (Image, "~/depth/confidence_8bit", LARGE_DEPTH),
    "camera_info": (CameraInfo, "~/depth/camera_info", SMALL_DEPTH),
    "frame_stats": (FrameStats, "~/frame_stats", SMALL_DEPTH),
    "depth_compressed": (CompressedImage, "~/depth/image_rect/compressedDepth", LARGE_DEPTH),
    "depth_mm_compressed": (CompressedImage, "~/depth/image_rect_raw/compressedDepth", LARGE_DEPTH),
    "preview_compressed": (CompressedImage, "~/depth/preview/compressed", LARGE_DEPTH),
    "disparity": (disparity_type, "~/disparity", LARGE_DEPTH),
    "scan": (LaserScan, "~/scan", SMALL_DEPTH),
    "view_points": (PointCloud2, "~/views/points", LARGE_DEPTH),
    "view_poses": (PoseArray, "~/views/poses", SMALL_DEPTH),
}
# Output → encoding, type and channels of its image.
_IMAGES: dict[str, tuple[str, type[np.generic], int]] = {
    "depth": ("32FC1", np.float32, 1),
    "depth_mm": ("16UC1", np.uint16, 1),
    "preview": ("rgb8", np.uint8, 3),
    "selection": ("mono8", np.uint8, 1),
    "normals": ("32FC3", np.float32, 3),
    "normals_preview": ("rgb8", np.uint8, 3),
    "confidence": ("32FC1", np.float32, 1),
    "confidence_8bit": ("mono8", np.uint8, 1),
}
_DEPTHS = ("depth", "depth_mm")
_ALWAYS = ("camera_info", "frame_stats")
_OF_VIEWS = ("view_points", "view_poses")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a frame's outputs. times_ms: the wall time of each that went out; failed: why another one did not."""

    times_ms: dict[str, float]
    failed: dict[str, Exception]


class Outputs:
    """The publishers, and the work that each of them needs; what nobody subscribes to is not computed.

    chosen: names of ``parameters.OUTPUTS``; camera_info and the statistics are always offered, and what only a window of frames has
    where there is one (``views``). make: of each publisher; what it
    raises is raised. transforms: where the camera is in the frame of the cloud's box.
    """

    def __init__(
        self,
        node: Node,
        chosen: Collection[str],
        make: MakeDestination = outlet,
        views: bool = False,
        transforms: Transforms | None = None,
    ) -> None:
        self._node = node
        self._make = make
        self._always = (*_ALWAYS, *_OF_VIEWS) if views else _ALWAYS
        # Replaced as a whole by the executor's thread. The worker's keeps to the one it began a frame with, and holds no lock while
        # it computes: a device that hangs there must not take the executor with it.
        self._publishers: dict[str, Destination] = {}
        self._cloud_limiter, self._view_cloud_limiter = RateLimiter(), RateLimiter()
        self._makers: dict[torch.device, HostOutputs | DeviceOutputs] = {}
        self._points_message, self._view_points_message = CloudMessage(), CloudMessage()
        self._crop = CropFrame(transforms or Transforms())
        self._image_messages = {name: ImageMessage(*kind) for name, kind in _IMAGES.items()}
        self._derived_messages = DerivedMessages()
        self.choose(chosen)

    @property
    def wanted(self) -> bool:
        """Whether anybody listens to anything."""
        return any(map(_is_subscribed, self._publishers.values()))

    def choose(self, chosen: Collection[str]) -> None:
        """Offer these from the next frame on. Raises what ``make`` raises, and then changes nothing."""
        self._offer((*self._always, *chosen))

    def publish(self, frame: Frame, result: DepthFrame, header: Header, info: CameraInfo | None, settings: Settings) -> Sent:
        """Send what is chosen to whoever listens.

        header: the image's own, used as it is. info: as received, None where there is none for this image. Millimetres, the cloud
        and ``OF_METRIC_DEPTH`` are sent only where the depth is metric, normals and ``OF_A_CAMERA`` only where the camera is known.
        Each output goes out as soon as it is made, so that none waits for another, and one that fails is missing alone: only where
        nothing at all went out its error is raised.
        """
        times_ms: dict[str, float] = {}
        failed: dict[str, Exception] = {}
        camera, publishers = frame.camera, self._publishers
        send, due = partial(self._try, publishers, times_ms, failed), self._due(publishers, result, frame, settings)
        cloud, missing = EVERYTHING, dict[str, Fill]()
        if "points" in due:
            try:
                cloud = self._crop.filter(header, settings)
            except OutputError as error:
                due.remove("points")
                missing["points"] = failing(error)
        begin, derived = self._maker(result.depth.device).begin, derived_settings(settings)
        made = begin(result, frame, due, settings.cloud_stride, derived, cloud, settings.min_confidence)
        fills = {**made, **missing}
        messages = {name: partial(self._filled, name, fill, result, camera, header, settings) for name, fill in fills.items()}
        for name in _DEPTHS:
            if name in messages:
                send(name, messages.pop(name))
        if info is not None and camera is not None and (times_ms or not failed):  # none for depth that is missing
            send("camera_info", lambda: info_for_image(info, camera, header))
        for name, message in messages.items():
            send(name, message)
        if failed and not times_ms:
            raise next(iter(failed.values()))
        return Sent(times_ms, failed)

    def publish_views(self, window: Window, refine: ViewRefiner, header: Header, settings: Settings) -> Sent:
        """Send the window's poses and, at most ``cloud_rate`` times a second, merged cloud to whoever listens; what fails is
        missing alone."""
        sent = Sent({}, {})
        send = partial(self._try, self._publishers, sent.times_ms, sent.failed)
        send("view_poses", lambda: window.poses(header))
        if self._is_due("view_points", self._view_cloud_limiter, settings.cloud_rate):
            send("view_points", lambda: self._make_view_points(window, refine, header, settings.cloud_stride))
        return sent

    def _try(
        self,
        publishers: dict[str, Destination],
        times_ms: dict[str, float],
        failed: dict[str, Exception],
        name: str,
        make: Callable[[], Any],
    ) -> None:
        """Make and send one output if anybody listens, and note what it took, or why it failed."""
        publisher = publishers.get(name)
        if publisher is None or not _is_subscribed(publisher):
            return
        start = time.perf_counter()
        try:
            went = _send(publisher, make())
        except Exception as error:
            if not self._node.context.ok():
                raise  # a signal has shut the context down: nothing more can be sent
            failed[name] = error
        else:
            if went:
                times_ms[name] = 1e3 * (time.perf_counter() - start)

    def publish_stats(self, stats: FrameStats) -> None:
        """Send the statistics of one frame, if anybody listens."""
        publisher = self._publishers.get("frame_stats")
        if publisher is not None and _is_subscribed(publisher):
            _send(publisher, stats)

    def destroy(self) -> None:
        """Take the publishers from the graph."""
        self._offer(())

    def _offer(self, names: Collection[str]) -> None:
        before = self._publishers
        made: dict[str, Destination] = {}
        try:
            for name in names:
                if name not in before:
                    kind, topic, depth = _TOPICS[name]
                    made[name] = self._make(self._node, kind if isinstance(kind, type) else kind(), topic, depth)
        except Exception:  # of whatever kind
            for publisher in made.values():
                publisher.destroy()
            raise
        self._publishers = {name: publisher for name, publisher in before.items() if name in names} | made
        for name in before.keys() - self._publishers.keys():
            before[name].destroy()

    def _is_due(self, name: str, limiter: RateLimiter, rate_hz: float) -> bool:
        publisher = self._publishers.get(name)
        return publisher is not None and _is_subscribed(publisher) and limiter.due(rate_hz, time.monotonic())

    def _due(self, publishers: dict[str, Destination], result: DepthFrame, frame: Frame, settings: Settings) -> list[str]:
        """The outputs that can be made of this answer, and that somebody waits for."""
        camera = frame.camera
        is_pinhole = camera is not None and not isinstance(frame.optics, RayTable)
        metric, camera_known = {"depth_mm", *OF_METRIC_DEPTH}, {"normals", "normals_preview", *OF_A_CAMERA}
        impossible = (set() if result.metric else metric) | (set() if is_pinhole else camera_known)
        due = [name for name in OUTPUTS if name not in impossible and name in publishers and _is_subscribed(publishers[name])]
        if "points" in due and not (
            result.metric and camera is not None and self._cloud_limiter.due(settings.cloud_rate, time.monotonic())
        ):
            due.remove("points")
        return due

    def _maker(self, device: torch.device) -> HostOutputs | DeviceOutputs:
        """Of the answers of this device."""
        if device not in self._makers:
            self._makers = {device: _maker_for(device)}
        return self._makers[device]

    def _filled(
        self, name: str, fill: Fill, result: DepthFrame, camera: Camera | None, header: Header, settings: Settings
    ) -> np.ndarray:
        """The serialized message of an output."""
        height, width = result.depth.shape
        if name in DERIVED:
            return self._derived_messages.filled(name, fill, (height, width), camera, header, settings)
        if name == "points":
            return self._filled_points(fill, (height, width), header, settings)
        image = self._image_messages[name]
        fill(image.prepare(height, width, header))
        return image.serialized

    def _filled_points(self, fill: Fill, size: tuple[int, int], header: Header, settings: Settings) -> np.ndarray:
        made = filter_of(settings, EVERYTHING.pose)
        rows, columns = cloud_size(*size, settings.cloud_stride) if made.plain else cast("CloudFill", fill).shape()
        message = self._points_message
        fill(message.prepare(rows, columns, header, last_field=settings.cloud_fields, is_dense=not made.organized))
        return message.serialized

    def _make_view_points(self, window: Window, refine: ViewRefiner, header: Header, stride: int) -> np.ndarray:
        positions, colors = window.points(refine, stride)
        points = self._view_points_message.prepare(1, len(positions), header)[0]
        red, green, blue = colors.T.astype(np.uint32)
        points[:, :3], points.view(np.uint32)[:, 3] = positions, (red << 16) | (green << 8) | blue
        return self._view_points_message.serialized


def _maker_for(device: torch.device) -> HostOutputs | DeviceOutputs:
    if not has_kernels(device):
        return HostOutputs(device)
    from depth_retrofit_ros.runtime.device_outputs import DeviceOutputs

    return DeviceOutputs(device)


def _is_subscribed(publisher: Destination) -> bool:
    try:
        return publisher.get_subscription_count() > 0
    except InvalidHandle:  # destroyed meanwhile, because another choice was made
        return False


def _send(publisher: Destination, message: Any) -> bool:
    """Whether it went out."""
    try:
        publisher.publish(message)
    except InvalidHandle:  # the same
        return False
    return True
