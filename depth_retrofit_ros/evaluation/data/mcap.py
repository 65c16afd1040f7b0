"""Reading an MCAP file record by record (mcap.dev/spec), whatever is missing of its indexes, its summary or its end.

Indexes are used where they agree with the records and the statistics, or name every channel, and done without where not. So a
file whose recorder was killed is read to the cut, and a damaged chunk costs its own messages only.
"""

from __future__ import annotations

import heapq
import os
import struct
from binascii import crc32
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.compression import LARGEST, expand
from depth_retrofit_ros.evaluation.data.storage import CDR, FROM_THE_START, Channel, Record

MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08
_STATISTICS = 0x0B
_LAST_KNOWN, _FIRST_PRIVATE = 0x0F, 0x80
_HEAD, _MESSAGE_HEAD = struct.Struct("<BQ"), struct.Struct("<HIQQ")
_FOOTER_BYTES = 9 + 20 + len(MAGIC)
_LONGEST_NAME = 64  # bytes of a compression's name


class _Damaged(Exception):
    """A record that is not what it says."""


@dataclass(slots=True)
class _Part:
    """A chunk, or a message outside of any (compression is None): where its data lies, and how many messages of which channel."""

    start_ns: int
    end_ns: int
    offset: int
    size: int
    compression: str | None
    raw_size: int = 0
    crc: int = 0
    cut: bool = False
    counts: Counter[int] = field(default_factory=Counter)


class McapFile:
    """See ``StorageFile``."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._schemas: dict[int, str] = {}
        self._streams: dict[int, tuple[str, int, str]] = {}  # channel → topic, schema, encoding
        self._parts: list[_Part] = []
        self._statistics: Counter[int] = Counter()  # channel → messages, as the summary has them
        self._indexed: list[int] = []  # offsets of chunks as the summary has them
        self._notes: list[str] = []
        self._broken: dict[int, tuple[str, int]] = {}  # offset of a chunk → what is wrong, messages that it should have had
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        try:
            self._find_parts()
        except BaseException:
            self.close()
            raise
        counts = self._counts()
        self.channels = [Channel(*self._described(number), counts[number]) for number in self._streams]
        filled = [part for part in self._parts if part.counts]
        self.span_ns = (min(p.start_ns for p in filled), max(p.end_ns for p in filled)) if filled else None

    @property
    def problems(self) -> list[str]:
        """See ``StorageFile``."""
        told = list(self._notes)
        if self._broken:
            reason, lost = next(iter(self._broken.values()))[0], sum(count for _, count in self._broken.values())
            told.append(
                f"{self._name}: {len(self._broken)} of {len(self._parts)} chunks are damaged ({reason}) and "
                f"{lost or 'an unknown number of'} messages in them lost: copy the file again if its source is sound"
            )
        return told

    def close(self) -> None:
        """See ``StorageFile``."""
        self._file.close()

    def messages(self, wanted: Collection[tuple[str, str]], since_ns: int = FROM_THE_START) -> Iterator[Record]:
        """See ``StorageFile``. Keeps the chunks that overlap in time in memory, usually one."""
        numbers = {
            number for number in self._streams if self._described(number)[2] == CDR and self._described(number)[:2] in wanted
        }
        asked = (part for part in self._parts if numbers & part.counts.keys() and part.end_ns >= since_ns)
        parts = sorted(asked, key=lambda p: (p.start_ns, p.offset))
        pending: list[tuple[int, int, int, int, bytes]] = []  # time, part, place in it, channel, data: a total order
        for part in parts:
            while pending and pending[0][0] < part.start_ns:
                yield self._record(heapq.heappop(pending))
            for place, (time_ns, number, data) in enumerate(self._load(part, numbers)):
                if time_ns < since_ns:
                    continue
                heapq.heappush(pending, (time_ns, part.offset, place, number, data))
        while pending:
            yield self._record(heapq.heappop(pending))

    def _record(self, entry: tuple[int, int, int, int, bytes]) -> Record:
        return Record(entry[0], self._streams[entry[3]][0], entry[4])

    def _described(self, number: int) -> tuple[str, str, str]:
        topic, schema, encoding = self._streams[number]
        return topic, self._schemas.get(schema, ""), encoding

    # Opening

    def _find_parts(self) -> None:
        position, complete = self._walk(len(MAGIC), self._size)
        if not complete:
            self._find_more_parts(position)
        chunks = [part for part in self._parts if part.compression is not None]
        counted = set()
        for part in chunks:
            if part.cut or not part.counts or not part.counts.keys() <= self._streams.keys():
                self._count(part)
                counted.add(part.offset)
        if self._counts() == self._statistics:
            return
        for part in chunks:  # an index that leaves a channel out may have forgotten it
            if part.offset not in counted and not self._streams.keys() <= part.counts.keys():
                self._count(part)

    def _count(self, part: _Part) -> None:
        """By the messages themselves. Of a chunk that is damaged, its index tells what it should have had."""
        found: Counter[int] = Counter()
        times = []
        for time_ns, number, _ in self._load(part, None):
            found[number] += 1
            times.append(time_ns)
        if part.offset not in self._broken or not part.counts.keys() <= self._streams.keys() or found:
            part.counts = found
        if times:
            part.start_ns, part.end_ns = min(times), max(times)

    def _counts(self) -> Counter[int]:
        """The messages of each channel, as far as is known."""
        counts: Counter[int] = Counter()
        for part in self._parts:
            counts.update(part.counts)
        return counts

    def _walk(self, position: int, end: int) -> tuple[int, bool]:
        """Take the records from ``position`` on. Returns where that ended, and whether at the footer, which is the sound end."""
        while position + _HEAD.size <= end:
            opcode, length = _HEAD.unpack(self._read(position, _HEAD.size))
            body = position + _HEAD.size
            whole = body + length <= end
            if opcode == 0 or _LAST_KNOWN < opcode < _FIRST_PRIVATE or not (whole or opcode == _CHUNK):
                return position, False
            try:
                self._take(opcode, body, length)
            except (_Damaged, struct.error, UnicodeDecodeError):
                return position, False
            if opcode == _FOOTER or not whole:
                return position, whole
            position = body + length
        return position, False

    def _take(self, opcode: int, body: int, length: int) -> None:
        if opcode in (_SCHEMA, _CHANNEL):
            self._define(opcode, self._read(body, length))
        elif opcode == _MESSAGE:
            number, _, time_ns, _ = _MESSAGE_HEAD.unpack(self._read(body, min(length, _MESSAGE_HEAD.size)))
            size = length - _MESSAGE_HEAD.size
            self._parts.append(_Part(time_ns, time_ns, body + _MESSAGE_HEAD.size, size, None, counts=Counter([number])))
        elif opcode == _CHUNK:
            self._parts.append(self._chunk(body))
        elif opcode == _MESSAGE_INDEX and self._parts and length >= 6:
            number, size = struct.unpack("<HI", self._read(body, 6))
            if size:
                self._parts[-1].counts[number] += size // 16
        elif opcode == _STATISTICS:
            self._statistics = _statistics(self._read(body, length))
        elif opcode == _CHUNK_INDEX and length >= 24:
            self._indexed.append(struct.unpack("<Q", self._read(body + 16, 8))[0])

    def _define(self, opcode: int, data: bytes | memoryview) -> None:
        """A schema or a channel, from wherever it stands."""
        fields = _Fields(data)
        if opcode == _SCHEMA:
            number = fields.number()
            self._schemas[number] = fields.text()
        else:
            number, schema = fields.number(), fields.number()
            self._streams[number] = (fields.text(), schema, fields.text())

    def _chunk(self, body: int) -> _Part:
        head = self._read(body, min(self._size - body, 28 + 4 + _LONGEST_NAME + 8))
        start_ns, end_ns, raw_size, crc, name_size = struct.unpack_from("<QQQII", head)
        if name_size > _LONGEST_NAME:
            raise _Damaged
        compression = head[32 : 32 + name_size].decode()
        (size,) = struct.unpack_from("<Q", head, 32 + name_size)
        offset = body + 40 + name_size
        there = min(size, self._size - offset)
        return _Part(start_ns, end_ns, offset, there, compression, raw_size, crc, cut=there < size)

    def _find_more_parts(self, position: int) -> None:
        """The file is damaged at ``position``, or ends there. Chunks behind it are found by the summary, where that is sound."""
        self._walk_summary(position)
        missing = [offset for offset in self._indexed if offset >= position]
        found = 0
        for offset in missing:
            try:
                opcode, _ = _HEAD.unpack(self._read(offset, _HEAD.size))
                if opcode == _CHUNK:
                    self._parts.append(self._chunk(offset + _HEAD.size))
                    found += 1
            except (_Damaged, struct.error, UnicodeDecodeError):
                continue
        rest = f"{found} chunks behind it were found by the index" if found else "what came before was read"
        what = "is damaged" if missing else "has no end (a recorder that was killed, or a copy that broke off):"
        remedy = f"'mcap recover {self._name} -o NEW.mcap' makes a sound copy"
        self._notes.append(f"{self._name} {what} at byte {position} of {self._size}; {rest}: {remedy}")

    def _walk_summary(self, position: int) -> None:
        start = self._size - _FOOTER_BYTES
        if start <= position or self._read(start, 9) != _HEAD.pack(_FOOTER, 20) or self._read(self._size - 8, 8) != MAGIC:
            return
        (summary,) = struct.unpack("<Q", self._read(start + 9, 8))
        if position < summary < start:
            self._walk(summary, self._size)

    # Reading

    def _load(self, part: _Part, numbers: Collection[int] | None) -> Iterator[tuple[int, int, bytes]]:
        """Time, channel and data of the messages of these channels; of all, as they come, where ``numbers`` is None."""
        if part.compression is None:
            (number,) = part.counts
            yield part.start_ns, number, self._read(part.offset, part.size)
            return
        raw = self._expanded(part)
        position, end = 0, len(raw)
        while position + _HEAD.size <= end:
            opcode, length = _HEAD.unpack_from(raw, position)
            body = position + _HEAD.size
            position = body + length
            try:
                if position > end:
                    raise _Damaged
                if opcode in (_SCHEMA, _CHANNEL):
                    self._define(opcode, raw[body:position])
                elif opcode == _MESSAGE:
                    number, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(raw[body:position])
                    if number in (self._streams if numbers is None else numbers):
                        yield time_ns, number, bytes(raw[body + _MESSAGE_HEAD.size : position])
            except (_Damaged, struct.error, UnicodeDecodeError):
                if not part.cut:
                    self._broken[part.offset] = ("a record beyond its chunk", 0)
                return

    def _expanded(self, part: _Part) -> memoryview:
        """The records of a chunk: all of them or, where it is damaged rather than cut, none, for nothing vouches for any."""
        assert part.compression is not None
        raw, problem = expand(self._read(part.offset, part.size), part.compression, min(part.raw_size, LARGEST))
        if not part.cut:
            if problem is None and len(raw) != part.raw_size:
                problem = "not of the stated size"
            if problem is None and part.crc and crc32(raw) != part.crc:
                problem = "checksum mismatch"
            if problem is not None:
                self._broken[part.offset] = (problem, part.counts.total())
                return memoryview(b"")
        return memoryview(raw)

    def _read(self, offset: int, size: int) -> bytes:
        """By position, so that several readers do not disturb one another."""
        if offset + size > self._size:
            raise _Damaged
        try:
            return os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            raise BagError(f"cannot read {self._name} ({error.strerror}): copy it from its source again") from error


def _statistics(data: bytes) -> Counter[int]:
    """Channel → messages."""
    (size,) = struct.unpack_from("<I", data, 42)
    if 46 + size > len(data) or size % 10:
        raise _Damaged
    return Counter(dict(struct.iter_unpack("<HQ", data[46 : 46 + size])))


class _Fields:
    """The fields of a record, one after the other."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data, self._position = data, 0

    def number(self) -> int:
        """16 bits."""
        (value,) = struct.unpack_from("<H", self._data, self._position)
        self._position += 2
        return int(value)

    def text(self) -> str:
        """With its length in front."""
        (size,) = struct.unpack_from("<I", self._data, self._position)
        begin = self._position + 4
        self._position = begin + int(size)
        if self._position > len(self._data):
            raise _Damaged
        return bytes(self._data[begin : self._position]).decode()
