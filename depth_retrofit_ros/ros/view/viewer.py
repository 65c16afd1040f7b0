"""What a viewer shows of a running node: the newest answered image, its depth, what was refined, and the cloud.

Only what somebody looks at is subscribed, so the node does no work for a view without viewers. Everything shown belongs to the same
image: of the camera's images, those are shown that the node answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.color_map import colorize
from depth_retrofit_ros.ros.health.throttled_log import ThrottledLogger
from depth_retrofit_ros.ros.messages.images import decode
from depth_retrofit_ros.ros.messages.jpeg import jpeg
from depth_retrofit_ros.ros.replay.recorder import depth_array, stamp_ns
from depth_retrofit_ros.ros.transport.qos import subscribe_newest
from depth_retrofit_ros.ros.view.pictures import marked, mono8, shaded, shrunk, smaller_cloud
from depth_retrofit_ros.runtime.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from std_msgs.msg import Header

VIEWS: dict[str, type] = {
    "/view/image": CompressedImage,
    "/view/depth": CompressedImage,
    "/view/selection": CompressedImage,
    "/view/points": PointCloud2,
}
"""What is shown: topic → message type."""

CONFIDENCE = "/view/confidence"
"""Of nodes that offer it; shown where a sink asks for it."""

LOOK_S = 0.5  # how often it is looked who looks
_REMEMBERED = 90  # small images that wait for their answer, and decisions about stamps

_NEEDS = {
    "/view/image": ("image",),
    "/view/depth": ("depth",),
    "/view/selection": ("image", "selection"),
    "/view/points": ("points",),
    CONFIDENCE: ("confidence",),
}
TOPICS = {"depth": "depth/image_rect", "selection": "depth/selection", "points": "points", "confidence": "depth/confidence"}
"""Output → its topic below the node's name."""


def _nobody_reads(report: DiagnosticArray) -> None:
    """The reports are of use to the viewer alone."""


@dataclass(frozen=True, slots=True)
class Sink:
    """Where the views go.

    write: takes a view's name and what ``picture`` or ``cloud`` made. wanted: whether anybody looks at a view of ``views``;
    connected: whether anybody is there at all: without, not even the node's reports are subscribed. report: takes each of these.
    picture: of ``uint8 [h, w, 3]`` RGB and the image's header. cloud: of the node's cloud and the columns that it may have.
    """

    write: Callable[[str, Any], None]
    wanted: Callable[[str], bool] = lambda view: True
    connected: Callable[[], bool] = lambda: True
    report: Callable[[DiagnosticArray], None] = _nobody_reads
    picture: Callable[[np.ndarray, Header], Any] = jpeg
    cloud: Callable[[PointCloud2, int], Any] = smaller_cloud
    views: tuple[str, ...] = tuple(VIEWS)


class Viewer:
    """Passes the newest frames of the node ``name`` on to ``sink``.

    node: whose executor calls us; name: the depth node's full name. width: columns of images and cloud that are shown at most.
    rate_hz: frames per second that are shown at most; 0: all. shown: how many were.
    """

    def __init__(self, node: Node, name: str, sink: Sink, width: int, rate_hz: float) -> None:
        self.shown = 0
        self.image_topic: str | None = None
        self._node, self._name, self._sink = node, name, sink
        self._width, self._rate_hz = width, rate_hz
        self._log = ThrottledLogger(node.get_logger())
        self._pace = RateLimiter()
        self._inputs: dict[str, Subscription] = {}
        self._images: dict[int, Callable[[], np.ndarray]] = {}  # by stamp [ns], in the order of arrival
        self._decided: dict[int, bool] = {}  # by stamp [ns]: whether the frame is shown
        self._callbacks = {
            "depth": self._on_depth,
            "selection": self._on_selection,
            "points": self._on_points,
            "confidence": self._on_confidence,
        }
        self._reports: Subscription | None = None
        self.refresh()
        node.create_timer(LOOK_S, self.refresh)

    def refresh(self) -> None:
        """Subscribe to what is looked at, and to nothing else."""
        if self._sink.connected() != (self._reports is not None):
            self._turn_reports()
        if self.image_topic is None:
            return
        views = [view for view in self._sink.views if self._sink.wanted(view)] if self._reports is not None else []
        wanted = {name for view in views for name in _NEEDS[view]}
        for name in wanted - self._inputs.keys():
            self._inputs[name] = self._subscribe(name, self.image_topic)
        for name in self._inputs.keys() - wanted:
            self._node.destroy_subscription(self._inputs.pop(name))

    def _turn_reports(self) -> None:
        """On or off."""
        if self._reports is None:
            self._reports = subscribe_newest(self._node, DiagnosticArray, "/diagnostics", self._on_diagnostics)
        else:
            self._node.destroy_subscription(self._reports)
            self._reports = None

    def _subscribe(self, name: str, image_topic: str) -> Subscription:
        if name == "image":
            compressed = image_topic.endswith("/compressed")
            return subscribe_newest(self._node, CompressedImage if compressed else Image, image_topic, self._on_image)
        message_type = PointCloud2 if name == "points" else Image
        return subscribe_newest(self._node, message_type, f"{self._name}/{TOPICS[name]}", self._callbacks[name])

    def _on_diagnostics(self, report: DiagnosticArray) -> None:
        """The node says itself which images it takes, after all remapping; started anew, it may take others."""
        for status in report.status:
            if status.name == f"{self._name}: input":
                topic = next((pair.value for pair in status.values if pair.key == "topic"), "")
                if topic and topic != self.image_topic:
                    self.image_topic = topic
                    if "image" in self._inputs:  # of the topic before; ``refresh`` subscribes to the new one
                        self._node.destroy_subscription(self._inputs.pop("image"))
        self._sink.report(report)

    def _on_image(self, message: Image | CompressedImage) -> None:
        with self._told():
            stamp = stamp_ns(message)
            if isinstance(message, CompressedImage):  # decoded only if the node answers it
                self._images[stamp] = lambda: shrunk(decode(message), self._width)
            else:
                small = shrunk(decode(message), self._width)
                self._images[stamp] = lambda: small
            _forget(self._images)
            if self._inputs.keys() == {"image"}:  # no answer to wait for
                self._is_shown(message.header, stamp)
            elif self._decided.get(stamp):  # its answer was here before it
                self._show("/view/image", self._images[stamp](), message.header)

    def _on_depth(self, message: Image) -> None:
        with self._told():
            if self._is_shown(message.header, stamp_ns(message)):
                self._show("/view/depth", shrunk(colorize(depth_array(message)), self._width), message.header)

    def _on_selection(self, message: Image) -> None:
        with self._told():
            stamp = stamp_ns(message)
            if self._is_shown(message.header, stamp):
                image = self._images[stamp]() if stamp in self._images else None
                self._show("/view/selection", marked(image, mono8(message), self._width), message.header)

    def _on_points(self, message: PointCloud2) -> None:
        with self._told():
            if self._is_shown(message.header, stamp_ns(message)):
                self._write("/view/points", self._sink.cloud(message, self._width))

    def _on_confidence(self, message: Image) -> None:
        with self._told():
            if self._is_shown(message.header, stamp_ns(message)):
                self._show(CONFIDENCE, shrunk(shaded(depth_array(message)), self._width), message.header)

    def _is_shown(self, header: Header, stamp: int) -> bool:
        """Decided once per frame, whatever of it comes first; its image is shown then."""
        if stamp not in self._decided:
            self._decided[stamp] = self._pace.due(self._rate_hz, time.monotonic())
            _forget(self._decided)
            if self._decided[stamp]:
                self.shown += 1
                if stamp in self._images:
                    self._show("/view/image", self._images[stamp](), header)
        return self._decided[stamp]

    def _show(self, view: str, image: np.ndarray, header: Header) -> None:
        if self._sink.wanted(view):
            self._sink.write(view, self._sink.picture(image, header))

    def _write(self, view: str, message: Any) -> None:
        if self._sink.wanted(view):
            self._sink.write(view, message)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A message that is not what it claims costs a line, as in the node."""
        try:
            yield
        except ImageError as error:
            self._log.failure(error)


def _forget(memory: dict[int, Any]) -> None:
    """The oldest entries, above the number that is kept."""
    while len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
