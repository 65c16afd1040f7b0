"""A rosbag2 (sqlite3 or mcap; a folder or a single file, compressed or not) without a ROS installation.

Messages stay serialised (CDR): they are played back byte for byte. Only the header stamp is looked at, and images are parsed on
request. What is damaged costs what lies in it: the rest is read, and ``Bag.problems`` says what is not.
"""

from __future__ import annotations

import heapq
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag_files import find_files, open_file
from depth_retrofit_ros.evaluation.data.compression import ZSTD_MAGIC, expand
from depth_retrofit_ros.evaluation.data.storage import CDR, FROM_THE_START, Record, StorageFile

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

T = TypeVar("T")

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPE = "tf2_msgs/msg/TFMessage"
_TRIED = 20  # messages at the start of a topic, in search of a sound one


@dataclass(frozen=True, slots=True)
class BagTopic:
    """A topic's message type, such as ``sensor_msgs/msg/Image``, and how many messages are there."""

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
    """An open bag. ``with Bag(path) as bag: ...``; raises BagError, one line, where nothing of it can be read.

    topics: those that hold ROS 2 messages; foreign: topic → encoding of those that hold something else, such as ``json``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, BagTopic] = {}
        self.foreign: dict[str, str] = {}
        self._files: list[StorageFile] | None = None
        self._remarks: list[str] = []

    def __enter__(self) -> Bag:
        paths, self._remarks = find_files(self.path)
        files: list[StorageFile] = []
        unreadable: list[BagError] = []
        for path in paths:
            try:
                file, remarks = open_file(path)
            except BagError as error:
                unreadable.append(error)
            else:
                files.append(file)
                self._remarks += remarks
        if not files:
            raise unreadable[0]
        self._remarks += map(str, unreadable)
        self._files = sorted(files, key=lambda file: file.span_ns or (0, 0))
        self._list_topics()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        files, self._files = self._files, None
        for file in files or ():
            file.close()

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last recorded message."""
        spans = [file.span_ns for file in self._open_files() if file.span_ns is not None]
        return 1e-9 * (max(end for _, end in spans) - min(start for start, _ in spans)) if spans else 0.0

    @property
    def problems(self) -> list[str]:
        """What could not be read so far, one line each. Damage within the files shows while they are read."""
        return [*self._remarks, *(line for file in self._open_files() for line in file.problems)]

    def msgtype(self, topic: str, allowed: Collection[str]) -> str:
        """The type of ``topic``. Raises BagError, naming the topics that would do, where it is absent, empty or of another type."""
        fitting = ", ".join(sorted(name for name, entry in self.topics.items() if entry.msgtype in allowed)) or "none"
        wanted = " or ".join(sorted(name.rsplit("/", 1)[1] for name in allowed))
        entry = self.topics.get(topic)
        if entry is None and topic in self.foreign:
            raise BagError(
                f"topic {topic} holds {self.foreign[topic]}, not ROS 2 messages; the {wanted} topics of the bag: {fitting}"
            )
        if entry is None:
            raise BagError(f"{self.path.name} has no topic {topic}; its {wanted} topics: {fitting}")
        if entry.msgtype not in allowed:
            raise BagError(
                f"topic {topic} holds {entry.msgtype or 'messages of no stated type'}, not {wanted}; "
                f"the {wanted} topics of the bag: {fitting}"
            )
        if self.first(topic) is None:
            raise BagError(f"topic {topic} of {self.path.name} has no messages: choose another, or record it again")
        return entry.msgtype

    def messages(self, topics: Collection[str], since_ns: int = FROM_THE_START) -> Iterator[BagMessage]:
        """The messages of ``topics`` in the order of recording, from that time [ns] on."""
        wanted = [(topic, self.topics[topic].msgtype) for topic in topics if topic in self.topics]
        for record in self._merged(wanted, since_ns):
            if (data := self._plain(record)) is not None:
                yield BagMessage(record.topic, record.time_ns, data)

    def first(self, topic: str, sound: Callable[[BagMessage], T] | None = None) -> T | BagMessage | None:
        """The first message of ``topic`` or, given ``sound``, what that makes of the first one that it does not refuse by BagError.

        None where there is none; raises the last refusal where none of the first messages is sound.
        """
        refusal: BagError | None = None
        for number, message in enumerate(self.messages([topic])):
            if sound is None:
                return message
            try:
                return sound(message)
            except BagError as error:
                refusal = error
            if number + 1 == _TRIED:
                break
        if refusal is not None:
            raise refusal
        return None

    def _merged(self, wanted: Collection[tuple[str, str]], since_ns: int) -> Iterator[Record]:
        """Those of all files in the order of time. A file is begun when its time has come: of a recording that was split, one after
        the other, and its parts are not all held in memory.
        """
        waiting = deque(enumerate(self._open_files()))  # by their first message
        begun: list[tuple[int, int, Record, Iterator[Record]]] = []  # time, file, next message, those behind it: a total order

        def advance(number: int, records: Iterator[Record]) -> None:
            if (record := next(records, None)) is not None:
                heapq.heappush(begun, (record.time_ns, number, record, records))

        while begun or waiting:
            while waiting and (not begun or (waiting[0][1].span_ns or (0, 0))[0] <= begun[0][0]):
                number, file = waiting.popleft()
                advance(number, iter(file.messages(wanted, since_ns)))
            if begun:
                _, number, record, records = heapq.heappop(begun)
                yield record
                advance(number, records)

    def _plain(self, record: Record) -> bytes | None:
        """A recorder may have compressed each message; CDR never begins like zstd."""
        if not record.data.startswith(ZSTD_MAGIC):
            return record.data
        data, problem = expand(record.data, "zstd")
        if problem is not None:
            remark = f"{self.path.name}: messages on {record.topic} cannot be decompressed: {problem}"
            self._remarks += [] if remark in self._remarks else [remark]
        return data if problem is None else None

    def _list_topics(self) -> None:
        """A topic with several types has that of most of its messages."""
        counts: dict[str, dict[str, int]] = {}
        for channel in (channel for file in self._open_files() for channel in file.channels):
            if channel.encoding == CDR:
                types = counts.setdefault(channel.topic, {})
                types[channel.msgtype] = types.get(channel.msgtype, 0) + channel.count
            else:
                self.foreign[channel.topic] = channel.encoding or "an unknown encoding"
        self.topics = {topic: BagTopic(*max(types.items(), key=lambda entry: entry[1])) for topic, types in counts.items()}

    def _open_files(self) -> list[StorageFile]:
        if self._files is None:
            raise ValueError("the bag is closed: use it inside its with block")
        return self._files


def header_stamp_ns(data: bytes) -> int:
    """Header stamp [ns] of a CDR message that begins with ``std_msgs/Header``. Raises BagError for one that is too short."""
    if len(data) < 12:
        raise BagError(f"a message of {len(data)} bytes cannot hold a header: it was cut off when it was recorded")
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def with_stamp(data: bytes, stamp_ns: int) -> bytes:
    """A copy of a CDR message that begins with ``std_msgs/Header``, with another stamp [ns]."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = struct.pack("<iI" if data[1] & 1 else ">iI", sec, nanosec)
    return b"".join((data[:4], stamp, memoryview(data)[12:]))  # one copy of a large image, not two


def relabeled(data: bytes, before: str, after: str) -> bytes:
    """A ``sensor_msgs/Image`` (CDR) whose encoding is ``before`` as one of encoding ``after``; any other as it is."""
    try:
        message = _typestore().deserialize_cdr(data, IMAGE_TYPE)
    except Exception:  # no image: whoever wants to decode it will say so
        return data
    if getattr(message, "encoding", None) != before:
        return data
    message.encoding = after  # type: ignore[attr-defined]
    return bytes(_typestore().serialize_cdr(message, IMAGE_TYPE))


def deserialize(data: bytes, msgtype: str) -> Any:
    """The message as an object with the fields of its ROS type. Raises BagError."""
    try:
        return _typestore().deserialize_cdr(data, msgtype)
    except ImportError as error:
        raise BagError(f"reading bags needs rosbags: pip install rosbags ({error})") from error
    except Exception as error:  # a parser over untrusted bytes
        raise BagError(f"a message of {len(data)} bytes does not parse as {msgtype} ({type(error).__name__})") from error


@cache
def _typestore() -> Typestore:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)
