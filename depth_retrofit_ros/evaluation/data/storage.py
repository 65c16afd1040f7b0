"""What every kind of bag file gives: channels, messages in the order of time, and a word on what could not be read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

CDR = "cdr"  # the encoding of ROS 2; a recorder of other things too (Foxglove, PlotJuggler) writes json or protobuf beside it


FROM_THE_START = -(1 << 63)  # before any time of recording


@dataclass(frozen=True, slots=True)
class Channel:
    """One stream of a file.

    msgtype: such as ``sensor_msgs/msg/Image``, empty where the file does not say; encoding: ``cdr`` for ROS 2 messages; count: the
    messages that are in the file, or that its index says are.
    """

    topic: str
    msgtype: str
    encoding: str
    count: int


class Record(NamedTuple):
    """One stored message: when the recorder received it [ns], its topic, and its bytes."""

    time_ns: int
    topic: str
    data: bytes


class StorageFile(Protocol):
    """An open file. Damage ends neither opening nor reading: what is sound is given, the rest is told by ``problems``.

    span_ns: times of the first and the last message, None without any. The constructor raises BagError, one line, where nothing can
    be read at all.
    """

    @property
    def channels(self) -> Sequence[Channel]: ...
    @property
    def span_ns(self) -> tuple[int, int] | None: ...
    @property
    def problems(self) -> list[str]:
        """What is known so far not to be readable, one line each, remedy included."""
        ...

    def messages(self, wanted: Collection[tuple[str, str]], since_ns: int = FROM_THE_START) -> Iterator[Record]:
        """Those of the channels with these (topic, message type) and encoding ``cdr``, in the order of time, from a time on."""
        ...

    def close(self) -> None:
        """No more messages are asked for."""
        ...
