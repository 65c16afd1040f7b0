"""Subscribes to everything that the depth node says, notes when it arrived, and hands each depth image to a writer thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.ros.calibration import camera_from_info

_WAITING = 16  # depth images between subscription and writer; when the disk is slower than that, the middleware drops


@dataclass(frozen=True, slots=True)
class RecordedDepth:
    """One depth image as it arrived: depth ``float32 [H, W]``, NaN where unknown; stamp_ns of its header; arrived_ns, monotonic."""

    index: int
    stamp_ns: int
    arrived_ns: int
    frame_id: str
    depth: np.ndarray
    camera: Camera | None


@dataclass(slots=True)
class Recording:
    """What arrived besides the depth images themselves: when they did, the last cloud, the last diagnostics by name."""

    arrived_ns: dict[int, int] = field(default_factory=dict)
    answers: int = 0
    cloud: PointCloud2 | None = None
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)
    diagnostics_count: int = 0


class Recorder:
    """Reliable subscriptions on the outputs of the node ``target`` (fully qualified, such as ``/depth_retrofit``).

    store: called in the writer thread with each depth image, in order; what it raises is raised by ``close``.
    cloud: whether to subscribe to the points too; the node computes them only for a subscriber.
    """

    def __init__(self, node: Node, target: str, store: Callable[[RecordedDepth], None], cloud: bool = True) -> None:
        self.recording = Recording()
        self._node = node
        self._depth_topic = f"{target}/depth/image_rect"
        self._store = store
        self._error: Exception | None = None
        self._info: CameraInfo | None = None
        self._queue: queue.Queue[tuple[int, Image] | None] = queue.Queue(_WAITING)
        self._writer = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._writer.start()
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=_WAITING, reliability=ReliabilityPolicy.RELIABLE)
        node.create_subscription(CameraInfo, f"{target}/depth/camera_info", self._on_info, qos)
        node.create_subscription(Image, self._depth_topic, self._on_depth, qos)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        if cloud:
            last = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)
            node.create_subscription(PointCloud2, f"{target}/points", self._on_cloud, last)

    def connected(self) -> bool:
        """Whether the node's depth publisher is on the graph."""
        return bool(self._node.count_publishers(self._depth_topic) > 0)

    def close(self) -> None:
        """Wait until everything that arrived is stored. Raises what storing raised."""
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()
        if self._error is not None:
            raise self._error

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_cloud(self, message: PointCloud2) -> None:
        self.recording.cloud = message

    def _on_depth(self, message: Image) -> None:
        arrived_ns = time.monotonic_ns()
        self.recording.arrived_ns[_stamp_ns(message)] = arrived_ns
        self.recording.answers += 1
        self._queue.put((arrived_ns, message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.recording.diagnostics[status.name] = {entry.key: entry.value for entry in status.values}
        self.recording.diagnostics_count += 1

    def _write(self) -> None:
        index = 0
        while (item := self._queue.get()) is not None:
            if self._error is not None:  # keep emptying the queue, so that the subscription never waits for a full disk
                continue
            try:
                self._store(self._recorded(index, *item))
            except Exception as error:  # raised by close()
                self._error = error
            index += 1

    def _recorded(self, index: int, arrived_ns: int, message: Image) -> RecordedDepth:
        depth = depth_array(message)
        info = self._info  # the writer lags behind the subscription: by now the info of this image is here too
        camera = None if info is None else camera_from_info(info, depth.shape[1], depth.shape[0])
        return RecordedDepth(index, _stamp_ns(message), arrived_ns, message.header.frame_id, depth, camera)


def depth_array(message: Image) -> np.ndarray:
    """A 32FC1 message as ``float32 [H, W]``, a view of its memory. Raises ImageError."""
    if message.encoding != "32FC1" or message.step % 4 or len(message.data) != message.height * message.step:
        raise ImageError(f"depth of encoding '{message.encoding}', {message.width}x{message.height}, does not fit its data")
    dtype = ">f4" if message.is_bigendian else "<f4"
    rows = np.frombuffer(message.data, dtype).reshape(message.height, message.step // 4)
    return rows[:, : message.width]


def _stamp_ns(message: Image) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
