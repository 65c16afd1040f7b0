"""Subscribes to everything that the depth node says, notes when it arrived, and hands each depth image to a writer thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.encodings import TABLE
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.messages.calibration import intrinsics
from depth_retrofit_ros.ros.messages.stamps import nanoseconds
from depth_retrofit_ros.ros.replay.identity import Event

_WAITING = 16  # depth images between subscription and writer; when the disk is slower than that, the middleware drops
_STATS_PATIENCE_S = 2.0  # the statistics of a frame follow its depth within milliseconds, or not at all


@dataclass(frozen=True, slots=True)
class RecordedDepth:
    """One depth image as it arrived: depth ``float32 [H, W]``, NaN where unknown, metres if the node said that it is ``metric``."""

    index: int
    stamp_ns: int
    depth: np.ndarray
    metric: bool
    camera: Camera | None


@dataclass(slots=True)
class Recording:
    """What arrived besides the depth images themselves.

    arrivals: header stamp of each depth image and when it came, in order; stats: the node's own statistics of each answered frame;
    cloud: the newest; reports: the newest diagnostics by status name, and how many arrays came.
    """

    arrivals: list[Event] = field(default_factory=list)
    stats: list[FrameStats] = field(default_factory=list)
    cloud: PointCloud2 | None = None
    reports: dict[str, dict[str, str]] = field(default_factory=dict)
    reports_count: int = 0

    @property
    def answers(self) -> int:
        """How many depth images came."""
        return len(self.arrivals)


class Recorder:
    """Reliable subscriptions on the outputs of the node ``target`` (fully qualified, such as ``/depth_retrofit``).

    store: called in the writer thread with each depth image, in order; what it raises is raised by ``check``.
    cloud: whether to subscribe to the points too; the node computes them only for a subscriber.
    keep: called in the writer thread with topic and message of every output; then no cloud is passed over.
    """

    def __init__(
        self,
        node: Node,
        target: str,
        store: Callable[[RecordedDepth], None],
        cloud: bool = True,
        keep: Callable[[str, Any], None] | None = None,
    ) -> None:
        self.recording = Recording()
        self._node = node
        self._depth_topic = f"{target}/depth/image_rect"
        self._store = store
        self._keep = keep
        self._error: Exception | None = None
        self._closed = False
        self._info: CameraInfo | None = None
        self._metric: list[tuple[int, bool]] = []  # stamp and unit of answers whose depth is still to be stored, in order
        self._metric_lock = threading.Lock()
        self._queue: queue.Queue[tuple[str, Any] | None] = queue.Queue(_WAITING)
        self._writer = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._writer.start()
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=_WAITING, reliability=ReliabilityPolicy.RELIABLE)
        last = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)

        def subscribe(message_type: type, topic: str, note: Callable[[Any], None], profile: QoSProfile) -> None:
            def receive(message: Any) -> None:
                note(message)
                if keep is not None or topic == self._depth_topic:
                    self._hand_over(topic, message)

            node.create_subscription(message_type, topic, receive, profile)

        subscribe(CameraInfo, f"{target}/depth/camera_info", self._on_info, qos)
        subscribe(Image, self._depth_topic, self._on_depth, qos)
        subscribe(FrameStats, f"{target}/frame_stats", self._on_stats, qos)
        if cloud:
            subscribe(PointCloud2, f"{target}/points", self._on_cloud, last if keep is None else qos)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def connected(self) -> bool:
        """Whether the node's publishers are on the graph, and its first diagnostics arrived: then the others will arrive too."""
        return self.recording.reports_count > 0 and self._node.count_publishers(self._depth_topic) > 0

    def check(self) -> None:
        """Raises what storing raised."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Ignore what arrives from now on, and wait until what arrived before is stored."""
        self._closed = True
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_stats(self, message: FrameStats) -> None:
        with self._metric_lock:
            self._metric.append((stamp_ns(message), message.metric))
        self.recording.stats.append(message)

    def _on_cloud(self, message: PointCloud2) -> None:
        self.recording.cloud = message

    def _on_depth(self, message: Image) -> None:
        self.recording.arrivals.append(Event(stamp_ns(message), time.monotonic_ns()))

    def _hand_over(self, topic: str, message: Any) -> None:
        if not self._closed:
            self._queue.put((topic, message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.recording.reports[status.name] = {entry.key: entry.value for entry in status.values}
        self.recording.reports_count += 1

    def _write(self) -> None:
        index = 0
        while (received := self._queue.get()) is not None:
            if self._error is not None:  # keep emptying the queue, so that the subscription never waits for a full disk
                continue
            topic, message = received
            try:
                if self._keep is not None:
                    self._keep(topic, message)
                if topic == self._depth_topic:
                    self._store(self._recorded(index, message))
                    index += 1
            except Exception as error:  # raised by check()
                self._error = error

    def _recorded(self, index: int, message: Image) -> RecordedDepth:
        stamp = stamp_ns(message)
        deadline_s = time.monotonic() + _STATS_PATIENCE_S
        while (metric := self._take_metric(stamp)) is None and time.monotonic() < deadline_s:
            time.sleep(0.005)
        depth, info = depth_array(message), self._info  # the node sends info and statistics right after the depth
        camera = None if info is None else intrinsics(info, depth.shape[1], depth.shape[0])
        return RecordedDepth(index, stamp, depth, bool(metric), camera)  # unless the node says that it is, it is not called metres

    def _take_metric(self, stamp: int) -> bool | None:
        """What the statistics of the earliest answer with this stamp say; None before they came. Earlier ones are done with."""
        with self._metric_lock:
            place = next((place for place, (said, _) in enumerate(self._metric) if said == stamp), None)
            if place is None:
                return None
            metric = self._metric[place][1]
            del self._metric[: place + 1]
            return metric


def depth_array(message: Image) -> np.ndarray:
    """A 32FC1 message as ``float32 [H, W]``, a view of its memory. Raises ImageError."""
    if message.encoding != "32FC1" or message.step % 4 or len(message.data) != message.height * message.step:
        raise ImageError(f"depth of encoding '{message.encoding}', {message.width}x{message.height}, does not fit its data")
    dtype = TABLE["32FC1"].dtype(message.is_bigendian)
    rows = np.frombuffer(message.data, dtype).reshape(message.height, message.step // 4)
    return rows[:, : message.width]


def stamp_ns(message: Any) -> int:
    """Header stamp [ns] of any message that has one."""
    return nanoseconds(message.header.stamp)
