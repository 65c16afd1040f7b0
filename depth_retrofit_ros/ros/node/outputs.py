"""The node's outputs. Whoever computes one writes straight into the message: see ``messages.outgoing``."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import torch
from geometry_msgs.msg import PoseArray
from rclpy.exceptions import InvalidHandle
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.color_map import colorize, colorize_normals
from depth_retrofit_ros.io.raw_depth import fill_millimeters
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.pointcloud.normals import surface_normals
from depth_retrofit_ros.pointcloud.organized import cloud_size, fill_cloud, is_device_cloud_installed
from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.ros.messages.calibration import info_for_image
from depth_retrofit_ros.ros.messages.outgoing import CloudMessage, ImageMessage
from depth_retrofit_ros.ros.transport.outlet import outlet
from depth_retrofit_ros.ros.transport.qos import LARGE_DEPTH, SMALL_DEPTH
from depth_retrofit_ros.runtime.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from rclpy.node import Node
    from std_msgs.msg import Header

    from depth_retrofit_ros.reconstruction.refined_view import ViewRefiner
    from depth_retrofit_ros.ros.node.parameters import Settings
    from depth_retrofit_ros.ros.node.views import Window


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

# Output → type, topic and queue of its publisher. The parameter `outputs` chooses among those that are not always offered.
_TOPICS: dict[str, tuple[type, str, int]] = {
    "depth": (Image, "~/depth/image_rect", LARGE_DEPTH),
    "depth_mm": (Image, "~/depth/image_rect_raw", LARGE_DEPTH),
    "points": (PointCloud2, "~/points", LARGE_DEPTH),
    "preview": (Image, "~/depth/preview", LARGE_DEPTH),
    "selection": (Image, "~/depth/selection", LARGE_DEPTH),
    "normals": (Image, "~/normals", LARGE_DEPTH),
    "normals_preview": (Image, "~/normals/preview", LARGE_DEPTH),
    "camera_info": (CameraInfo, "~/depth/camera_info", SMALL_DEPTH),
    "frame_stats": (FrameStats, "~/frame_stats", SMALL_DEPTH),
    "view_points": (PointCloud2, "~/views/points", LARGE_DEPTH),
    "view_poses": (PoseArray, "~/views/poses", SMALL_DEPTH),
}
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
    raises is raised.
    """

    def __init__(self, node: Node, chosen: Collection[str], make: MakeDestination = outlet, views: bool = False) -> None:
        self._node = node
        self._make = make
        self._always = (*_ALWAYS, *_OF_VIEWS) if views else _ALWAYS
        # Replaced as a whole by the executor's thread. The worker's keeps to the one it began a frame with, and holds no lock while
        # it computes: a device that hangs there must not take the executor with it.
        self._publishers: dict[str, Destination] = {}
        self._cloud_limiter, self._view_cloud_limiter = RateLimiter(), RateLimiter()
        self._cloud_on_device = is_device_cloud_installed()
        self._depth_message = ImageMessage("32FC1", np.float32, 1)
        self._millimeters_message = ImageMessage("16UC1", np.uint16, 1)
        self._points_message = CloudMessage()
        self._view_points_message = CloudMessage()
        self._preview_message = ImageMessage("rgb8", np.uint8, 3)
        self._selection_message = ImageMessage("mono8", np.uint8, 1)
        self._normals_message = ImageMessage("32FC3", np.float32, 3)
        self._normals_preview_message = ImageMessage("rgb8", np.uint8, 3)
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

        header: the image's own, used as it is. info: as received, None where there is none for this image. Millimetres and the
        cloud are sent only where the depth is metric, normals only where the camera is known. Each output goes out as soon as it is
        made, so that none waits for another, and one that fails is missing alone: only where nothing at all went out its error is
        raised.
        """
        times_ms: dict[str, float] = {}
        failed: dict[str, Exception] = {}
        depth = cache(lambda: self._on_host(result.depth, header))  # only if somebody listens
        normals = cache(lambda: surface_normals(result).cpu().numpy())
        camera = frame.camera
        send = partial(self._try, self._publishers, times_ms, failed)
        send("depth", lambda: self._make_depth(depth(), header))
        if result.metric:
            send("depth_mm", lambda: self._make_millimeters(depth(), header))
        if info is not None and camera is not None and (times_ms or not failed):  # none for depth that is missing
            send("camera_info", lambda: info_for_image(info, camera, header))
        if result.metric and camera is not None and self._is_due("points", self._cloud_limiter, settings.cloud_rate):
            send("points", lambda: self._make_cloud(result, depth, frame, header, settings.cloud_stride))
        send("preview", lambda: self._make_preview(depth(), header))
        send("selection", lambda: self._make_selection(result.selection.mask().cpu().numpy(), header))
        if camera is not None:
            send("normals", lambda: self._make_normals(normals(), header))
            send("normals_preview", lambda: self._make_normals_preview(normals(), header))
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
                    message_type, topic, depth = _TOPICS[name]
                    made[name] = self._make(self._node, message_type, topic, depth)
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

    def _on_host(self, depth: torch.Tensor, header: Header) -> np.ndarray:
        """``float32 [H, W]``; from a device straight into the depth message, whoever else needs it."""
        if depth.device.type == "cpu":
            return depth.numpy()
        pixels = self._depth_message.prepare(depth.shape[0], depth.shape[1], header)
        torch.from_numpy(pixels).copy_(depth)
        return pixels

    def _make_depth(self, depth: np.ndarray, header: Header) -> np.ndarray:
        pixels = self._depth_message.prepare(depth.shape[0], depth.shape[1], header)
        if not np.may_share_memory(pixels, depth):
            np.copyto(pixels, depth)
        return self._depth_message.serialized

    def _make_millimeters(self, depth: np.ndarray, header: Header) -> np.ndarray:
        fill_millimeters(depth, self._millimeters_message.prepare(depth.shape[0], depth.shape[1], header))
        return self._millimeters_message.serialized

    def _make_cloud(
        self, result: DepthFrame, depth: Callable[[], np.ndarray], frame: Frame, header: Header, stride: int
    ) -> np.ndarray:
        assert frame.camera is not None
        points = self._points_message.prepare(*cloud_size(frame.camera.height, frame.camera.width, stride), header)
        if result.depth.device.type == "cpu" or result.image is None or not self._cloud_on_device:
            surfaces = depth() if result.sky is None else surface_depth(result).cpu().numpy()
            fill_cloud(surfaces, frame.image, frame.camera, points, stride)
        else:
            from depth_retrofit_ros.pointcloud.organized_triton import make_cloud_on_device

            torch.from_numpy(points).copy_(make_cloud_on_device(surface_depth(result), result.image, frame.camera, stride))
        return self._points_message.serialized

    def _make_view_points(self, window: Window, refine: ViewRefiner, header: Header, stride: int) -> np.ndarray:
        positions, colors = window.points(refine, stride)
        points = self._view_points_message.prepare(1, len(positions), header)[0]
        red, green, blue = colors.T.astype(np.uint32)
        points[:, :3], points.view(np.uint32)[:, 3] = positions, (red << 16) | (green << 8) | blue
        return self._view_points_message.serialized

    def _make_preview(self, depth: np.ndarray, header: Header) -> np.ndarray:
        colorize(depth, out=self._preview_message.prepare(depth.shape[0], depth.shape[1], header))
        return self._preview_message.serialized

    def _make_selection(self, refined: np.ndarray, header: Header) -> np.ndarray:
        np.multiply(refined, np.uint8(255), out=self._selection_message.prepare(refined.shape[0], refined.shape[1], header))
        return self._selection_message.serialized

    def _make_normals(self, normals: np.ndarray, header: Header) -> np.ndarray:
        cv2.merge(list(normals), dst=self._normals_message.prepare(normals.shape[1], normals.shape[2], header))
        return self._normals_message.serialized

    def _make_normals_preview(self, normals: np.ndarray, header: Header) -> np.ndarray:
        colorize_normals(normals, out=self._normals_preview_message.prepare(normals.shape[1], normals.shape[2], header))
        return self._normals_preview_message.serialized


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
