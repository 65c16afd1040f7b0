"""Reading an SQLite bag file (.db3) row by row, so that a damaged page costs the messages on it and no other."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.storage import CDR, FROM_THE_START, Channel, Record

MAGIC = b"SQLite format 3\0"
JOURNALS = ("-wal", "-journal")  # beside the file where its recorder was killed: they belong to it
REMEDY = "copy it from its source again, or record anew"
_FARTHEST = 1 << 20  # rows that are passed over in search of readable ones behind a damaged page
_MOST_GAPS = 100


class SqliteFile:
    """See ``StorageFile``."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        page, pages = page_size(path), int.from_bytes(_head(path)[28:32], "big")
        self._damage = "it was cut off" if path.stat().st_size < page * pages else ""
        self._lost: set[int] = set()
        try:
            immutable = not any(Path(f"{path}{journal}").exists() for journal in JOURNALS)
            uri = f"file:{quote(str(path.absolute()))}{'?immutable=1' if immutable else ''}"
            # The player reads in a thread of its own; no two threads use it at once.
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise BagError(f"cannot read the bag {path} ({error}): {REMEDY}") from error
        try:
            self._database.execute("PRAGMA writable_schema=ON")  # without it a file that was cut off is refused as a whole
            self._topics = self._read_topics()
        except sqlite3.Error as error:
            self._database.close()
            raise BagError(f"cannot read the bag {path} ({error}): {REMEDY}") from error
        self._rows = sorted(self._find_rows())
        counts = Counter(topic for _, _, topic in self._rows)
        self.channels = [Channel(*described, counts[number]) for number, described in self._topics.items()]
        self.span_ns = (self._rows[0][0], self._rows[-1][0]) if self._rows else None

    @property
    def problems(self) -> list[str]:
        """See ``StorageFile``."""
        if not (self._damage or self._lost):
            return []
        more = f"; {len(self._lost)} messages are lost" if self._lost else ""
        return [f"{self._name} is damaged ({self._damage}){more}; what is sound was read: {REMEDY}"]

    def close(self) -> None:
        """See ``StorageFile``."""
        self._database.close()

    def messages(self, wanted: Collection[tuple[str, str]], since_ns: int = FROM_THE_START) -> Iterator[Record]:
        """See ``StorageFile``."""
        numbers = {
            number for number, (topic, kind, encoding) in self._topics.items() if encoding == CDR and (topic, kind) in wanted
        }
        for time_ns, row, number in self._rows:
            if time_ns >= since_ns and number in numbers and (data := self._data(row)) is not None:
                yield Record(time_ns, self._topics[number][0], data)

    def _read_topics(self) -> dict[int, tuple[str, str, str]]:
        rows = self._database.execute("SELECT id, name, type, serialization_format FROM topics").fetchall()
        return {number: (str(name), str(kind), str(encoding)) for number, name, kind, encoding in rows}

    def _find_rows(self) -> list[tuple[int, int, int]]:
        """Time [ns], row and topic of every message that can be found. Not by the index: that may be what is damaged."""
        rows: list[tuple[int, int, int]] = []
        last = -1
        for _ in range(_MOST_GAPS):
            try:
                for row, topic, time_ns in self._database.execute(
                    "SELECT id, topic_id, timestamp FROM messages WHERE id > ? ORDER BY id", (last,)
                ):
                    last = row
                    if isinstance(time_ns, int) and topic in self._topics:
                        rows.append((time_ns, row, topic))
                return rows
            except (sqlite3.Error, OverflowError) as error:
                self._damage = str(error)
            step = self._step_over(last)
            if step is None:
                break
            last += step
        return rows

    def _step_over(self, last: int) -> int | None:
        """How far behind row ``last`` there is one that can be read; None where there is none."""
        step = 1
        while step < _FARTHEST:
            try:
                if self._database.execute("SELECT id FROM messages WHERE id > ? LIMIT 1", (last + step,)).fetchone() is None:
                    return None
                return step
            except sqlite3.Error:
                step *= 2
        return None

    def _data(self, row: int) -> bytes | None:
        try:
            found = self._database.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone()
        except sqlite3.Error as error:
            self._damage = str(error)
            found = None
        if found is None or not isinstance(found[0], bytes):
            self._damage = self._damage or "rows without data"
            self._lost.add(row)
            return None
        return found[0]


def page_size(path: Path) -> int:
    """Bytes of a page; the file is that many times a whole number, unless it was cut off."""
    size = int.from_bytes(_head(path)[16:18], "big")
    return 65536 if size < 2 else size  # 1 stands for 65536, 0 for nothing


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(32)
