"""An MCAP writer of its own, after the format's specification, that can leave away or falsify whatever a recorder may."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]
from backports import zstd

MAGIC = b"\x89MCAP0\r\n"
COMPRESS = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}


@dataclass(frozen=True)
class Stream:
    """A channel: its schema (empty: none), and time [ns] and data of its messages."""

    topic: str
    schema: str
    messages: Sequence[tuple[int, bytes]]
    encoding: str = "cdr"
    schema_encoding: str = "ros2msg"


@dataclass(frozen=True)
class Written:
    """The file's bytes, and where each chunk or message begins and ends."""

    data: bytes
    places: list[tuple[int, int]] = field(default_factory=list)


def mcap_bytes(
    streams: Sequence[Stream],
    *,
    chunk: int = 3,
    compression: str = "zstd",
    index: bool = True,
    summary: bool = True,
    end: bool = True,
    profile: str = "ros2",
    forgotten: Collection[int] = (),
    statistics: bool = False,
) -> Written:
    """chunk: messages in each, 0 for none; index, summary, end: whether message indexes, summary, DataEnd and footer are there.

    forgotten: channels that no index has; statistics: whether the summary has them.
    """
    out = bytearray(MAGIC + record(0x01, text(profile) + text("test")))
    schemas = {name: number for number, name in enumerate(dict.fromkeys(s.schema for s in streams if s.schema), start=1)}
    kinds = {stream.schema: stream.schema_encoding for stream in streams}
    definitions = b"".join(
        record(0x03, struct.pack("<H", number) + text(name) + text(kinds[name]) + text("uint8 lie"))
        for name, number in schemas.items()
    ) + b"".join(
        record(0x04, struct.pack("<HH", number, schemas.get(s.schema, 0)) + text(s.topic) + text(s.encoding) + struct.pack("<I", 0))
        for number, s in enumerate(streams)
    )
    messages = sorted((time, number, data) for number, s in enumerate(streams) for time, data in s.messages)
    places, indexes = [], []
    if not chunk:
        out += definitions
        for time, number, data in messages:
            places.append((len(out), len(out) + 9 + 22 + len(data)))
            out += message(time, number, data)
    for first in range(0, len(messages) if chunk else 0, max(1, chunk)):
        some = messages[first : first + chunk]
        raw = (definitions if first == 0 else b"") + b"".join(message(*entry) for entry in some)
        packed = COMPRESS[compression](raw)
        times = [time for time, _, _ in some]
        head = (
            struct.pack("<QQQI", min(times), max(times), len(raw), crc32(raw)) + text(compression) + struct.pack("<Q", len(packed))
        )
        places.append((len(out), len(out) + 9 + len(head) + len(packed)))
        out += record(0x06, head + packed)
        begin, offsets = len(out), {}
        for number in sorted({number for _, number, _ in some}) if index else []:
            if number in forgotten:
                continue
            entries = b"".join(struct.pack("<QQ", time, 0) for time, other, _ in some if other == number)
            offsets[number] = len(out)
            out += record(0x07, struct.pack("<HI", number, len(entries)) + entries)
        table = b"".join(struct.pack("<HQ", *entry) for entry in offsets.items())
        begin_chunk, end_chunk = places[-1]
        indexes.append(
            struct.pack("<QQQQI", min(times), max(times), begin_chunk, end_chunk - begin_chunk, len(table))
            + table
            + struct.pack("<Q", len(out) - begin)
            + text(compression)
            + struct.pack("<QQ", len(packed), len(raw))
        )
    if end:
        out += record(0x0F, struct.pack("<I", 0))
        start = len(out) if summary else 0
        if summary:
            out += definitions + b"".join(record(0x08, entry) for entry in indexes)
            counts = b"".join(struct.pack("<HQ", number, len(stream.messages)) for number, stream in enumerate(streams))
            ends = (messages[0][0], messages[-1][0]) if messages else (0, 0)
            head = struct.pack("<QHIIIIQQ", len(messages), len(schemas), len(streams), 0, 0, len(indexes), *ends)
            out += record(0x0B, head + struct.pack("<I", len(counts)) + counts) if statistics else b""
        out += record(0x02, struct.pack("<QQI", start, 0, 0)) + MAGIC
    return Written(bytes(out), places)


def write_mcap(
    path: Path, streams: Sequence[Stream], *, damage: dict[int, bytes] | None = None, cut: int | None = None, **how: object
) -> Path:
    """damage: offset → bytes that stand there instead; cut: only so many bytes. how: see ``mcap_bytes``."""
    data = bytearray(mcap_bytes(streams, **how).data)  # type: ignore[arg-type]
    for place, other in (damage or {}).items():
        data[place : place + len(other)] = other
    path.write_bytes(data[:cut])
    return path


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def message(time_ns: int, channel: int, data: bytes) -> bytes:
    return record(0x05, struct.pack("<HIQQ", channel, 0, time_ns, time_ns) + data)


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()
