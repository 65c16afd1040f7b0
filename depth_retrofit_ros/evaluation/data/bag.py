"""Reading a rosbag2 (sqlite3 or mcap; a folder or a single file) without a ROS installation.

Messages stay serialised (CDR): they are played back byte for byte. Only the header stamp is looked at, and depth images are decoded
on request.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.io.encodings import DEPTHS, TABLE

if TYPE_CHECKING:
    from rosbags.rosbag2 import Reader
    from rosbags.typesys.store import Typestore

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
INFO_TYPE = "sensor_msgs/msg/CameraInfo"


@dataclass(frozen=True, slots=True)
class BagTopic:
    """A topic's message type, such as ``sensor_msgs/msg/Image``, and how many messages were recorded."""

    msgtype: str
    count: int


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One recorded message: its topic, the time [ns] at which the recorder received it, and its CDR bytes."""

    topic: str
    time_ns: int
    data: bytes

    @property
    def stamp_ns(self) -> int:
        """The header stamp [ns]; only for types that begin with ``std_msgs/Header``. Raises BagError."""
        return header_stamp_ns(self.data)


class Bag:
    """An open bag. ``with Bag(path) as bag: ...``; raises BagError, one line, for whatever is wrong with the files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, BagTopic] = {}
        self._reader: Reader | None = None

    def __enter__(self) -> Bag:
        if not self.path.exists():
            raise BagError(f"no bag at {self.path}: give a rosbag2 folder, an .mcap or a .db3 file")
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            raise BagError(f"{self.path} has no metadata.yaml: give a rosbag2 folder, or the .mcap or .db3 file in it")
        with self._told():
            from rosbags.rosbag2 import Reader

            reader = Reader(self.path)
            reader.open()
            self._reader = reader
            for connection in reader.connections:
                known = self.topics.get(connection.topic, BagTopic(connection.msgtype, 0))
                self.topics[connection.topic] = BagTopic(connection.msgtype, known.count + connection.msgcount)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with self._told():
                reader.close()

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last recorded message."""
        reader = self._open_reader()
        return max(0, reader.end_time - reader.start_time) * 1e-9 if reader.message_count else 0.0

    def msgtype(self, topic: str, allowed: Collection[str]) -> str:
        """The type of ``topic``. Raises BagError, naming the topics that would do, where it is absent, empty or of another type."""
        fitting = ", ".join(sorted(name for name, entry in self.topics.items() if entry.msgtype in allowed)) or "none"
        wanted = " or ".join(sorted(name.rsplit("/", 1)[1] for name in allowed))
        entry = self.topics.get(topic)
        if entry is None:
            raise BagError(f"{self.path.name} has no topic {topic}; its {wanted} topics: {fitting}")
        if entry.msgtype not in allowed:
            raise BagError(f"topic {topic} holds {entry.msgtype}, not {wanted}; the {wanted} topics of the bag: {fitting}")
        if entry.count == 0:
            raise BagError(f"topic {topic} of {self.path.name} has no messages: record it again")
        return entry.msgtype

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """The messages of ``topics`` in the order of recording."""
        reader = self._open_reader()
        wanted = [connection for connection in reader.connections if connection.topic in topics]
        if not wanted:  # rosbags takes an empty filter for "everything"
            return
        with self._told():
            for connection, time_ns, data in reader.messages(wanted):
                yield BagMessage(connection.topic, time_ns, bytes(data))

    def _open_reader(self) -> Reader:
        if self._reader is None:
            raise ValueError("the bag is closed: use it inside its with block")
        return self._reader

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells any failure of the parser as one line: files are untrusted bytes, so what it may raise is not a short list."""
        try:
            yield
        except (BagError, GeneratorExit):
            raise
        except ImportError as error:
            raise BagError(f"reading bags needs rosbags: pip install rosbags ({error})") from error
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BagError(f"cannot read the bag {self.path}: {reason[:200]}; record or copy it again") from error


def header_stamp_ns(data: bytes) -> int:
    """Header stamp [ns] of a CDR message that begins with ``std_msgs/Header``. Raises BagError for one that is too short."""
    if len(data) < 12:
        raise BagError(f"a message of {len(data)} bytes cannot hold a header: the bag is damaged, record or copy it again")
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def with_stamp(data: bytes, stamp_ns: int) -> bytes:
    """A copy of a CDR message that begins with ``std_msgs/Header``, with another stamp [ns]."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = struct.pack("<iI" if data[1] & 1 else ">iI", sec, nanosec)
    return b"".join((data[:4], stamp, memoryview(data)[12:]))  # one copy of a large image, not two


def deserialize(data: bytes, msgtype: str) -> Any:
    """The message as an object with the fields of its ROS type. Raises BagError."""
    try:
        return _typestore().deserialize_cdr(data, msgtype)
    except Exception as error:  # a parser over untrusted bytes
        raise BagError(f"a message does not parse as {msgtype} ({type(error).__name__}): record the bag again") from error


def depth_image(data: bytes) -> np.ndarray:
    """A serialised ``sensor_msgs/Image`` of depth as ``float32 [H, W]`` metres, NaN where invalid.

    Encodings 16UC1 / mono16 (millimetres, 0 invalid) and 32FC1 (metres, NaN or <= 0 invalid), as in REP-118. Raises BagError.
    """
    message = deserialize(data, IMAGE_TYPE)
    if message.encoding not in DEPTHS:
        raise BagError(f"depth encoding {message.encoding!r} is not known: give a topic with 16UC1 (mm) or 32FC1 (m)")
    dtype = TABLE[message.encoding].dtype(message.is_bigendian)
    height, width, step = int(message.height), int(message.width), int(message.step)
    raw = np.asarray(message.data)
    if height == 0 or width == 0 or step < width * dtype.itemsize or step % dtype.itemsize or raw.size < height * step:
        raise BagError(f"depth image {width}x{height} with step {step} does not fit its {raw.size} bytes: record the bag again")
    rows = raw[: height * step].view(dtype).reshape(height, step // dtype.itemsize)[:, :width]
    depth: np.ndarray = rows.astype(np.float32) * np.float32(DEPTHS[message.encoding])
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


@cache
def _typestore() -> Typestore:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)
