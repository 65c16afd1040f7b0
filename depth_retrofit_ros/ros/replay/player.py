"""Publishes recorded or rendered messages at the rate at which they were recorded."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE, IMAGE_TYPE, INFO_TYPE, header_stamp_ns
from depth_retrofit_ros.evaluation.data.cdr import require_image
from depth_retrofit_ros.ros.replay.identity import Event

MESSAGE_CLASSES = {IMAGE_TYPE: Image, COMPRESSED_TYPE: CompressedImage, INFO_TYPE: CameraInfo}
NO_STAMP = -(1 << 63)  # of what is no message; no header can hold it
_READ_AHEAD = 8  # messages: enough to ride over a slow read, few enough for memory at 8K


@dataclass(frozen=True, slots=True)
class TimedMessage:
    """CDR bytes to publish on ``topic``, ``at_s`` seconds after the stream began."""

    at_s: float
    topic: str
    data: bytes


@dataclass(slots=True)
class Playback:
    """What was played.

    images: stamp and time of publication of each image, by its number; unreadable: number → why it is no message, for which it
    counts as played and failed; late_s: how late the player ran.
    """

    images: list[Event] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    late_s: list[float] = field(default_factory=list)

    @property
    def played(self) -> int:
        """How many images."""
        return len(self.images)

    @property
    def last_failure(self) -> str:
        """Why the last unreadable one is none; empty without any."""
        return next(reversed(self.unreadable.values()), "")

    def note(self, data: bytes, msgtype: str) -> bool:
        """An image (CDR) goes out now. False where it is no message, and must not."""
        try:
            require_image(data, msgtype)
        except BagError as error:
            self.unreadable[self.played] = str(error)
            self.images.append(Event(NO_STAMP, time.monotonic_ns()))
            return False
        self.images.append(Event(header_stamp_ns(data), time.monotonic_ns()))
        return True


class Player:
    """One publisher per topic, and a thread that keeps the stream's time.

    types: topic → message type such as ``sensor_msgs/msg/Image``; counted: the image topic, whose messages ``playback`` records;
    rate: 2 plays twice as fast. Reliable keep-last publishers, as camera drivers with system defaults have.
    """

    def __init__(self, node: Node, types: Mapping[str, str], counted: str, rate: float = 1.0) -> None:
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self.playback = Playback()
        self._publishers = {topic: node.create_publisher(MESSAGE_CLASSES[name], topic, qos) for topic, name in types.items()}
        self._types = types
        self._counted = counted
        self._rate = rate
        self._node, self._context = node, node.context
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def subscribers(self) -> int:
        """How many subscriptions the least wanted topic has."""
        return min(int(publisher.get_subscription_count()) for publisher in self._publishers.values())

    def reaches(self, name: str) -> bool:
        """Whether the node of this full name subscribes to every topic: others, such as a viewer, may be there before it."""
        return all(
            any(
                f"{end.node_namespace.rstrip('/')}/{end.node_name}" == name
                for end in self._node.get_subscriptions_info_by_topic(topic)
            )
            for topic in self._publishers
        )

    def start(self, stream: Iterable[TimedMessage]) -> None:
        """Play ``stream``, ordered by time, once."""
        self._thread = threading.Thread(target=self._play, args=(stream,), name="player", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait until the stream ended. False when it still runs after ``timeout_s``; raises what reading the stream raised."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        if self._error is not None:
            raise self._error
        return True

    def stop(self) -> None:
        """End early, and wait for the end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _play(self, stream: Iterable[TimedMessage]) -> None:
        try:
            start_s: float | None = None
            for message in self._read_ahead(stream):
                start_s = time.monotonic() if start_s is None else start_s  # opening the stream is not lateness
                due_s = start_s + message.at_s / self._rate
                if self._stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                if message.topic == self._counted:
                    self.playback.late_s.append(max(0.0, time.monotonic() - due_s))
                    if not self.playback.note(message.data, self._types[message.topic]):
                        continue
                self._publishers[message.topic].publish(message.data)
        except Exception as error:  # handed to the thread that waits in join()
            if rclpy.ok(context=self._context):  # publishing into a context that a signal shut down fails, and does not matter
                self._error = error

    def _read_ahead(self, stream: Iterable[TimedMessage]) -> Iterator[TimedMessage]:
        """``stream``, read by another thread: reading a bag late makes every later message late."""
        ahead: queue.Queue[TimedMessage | Exception | None] = queue.Queue(_READ_AHEAD)

        def put(item: TimedMessage | Exception | None) -> bool:
            while not self._stop.is_set():
                try:
                    ahead.put(item, timeout=0.1)
                    return True
                except queue.Full:
                    continue
            return False

        def read() -> None:
            try:
                for message in stream:
                    if not put(message):
                        return
                put(None)
            except Exception as error:
                put(error)

        reader = threading.Thread(target=read, name="read-ahead", daemon=True)
        reader.start()
        try:
            while not self._stop.is_set():
                item = self._next(ahead)
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self._stop.set()  # also ends a reader that waits for room, where publishing failed
            reader.join()

    def _next(self, ahead: queue.Queue[TimedMessage | Exception | None]) -> TimedMessage | Exception | None:
        while not self._stop.is_set():
            try:
                return ahead.get(timeout=0.1)
            except queue.Empty:
                continue
        return None
