"""What a batch leaves beside its results: a row per frame as Parquet, a manifest with checksums, and a report made of both."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from depth_retrofit_ros.batch.bags import ACCURACY
from depth_retrofit_ros.batch.place import Place
from depth_retrofit_ros.batch.tasks import Row
from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.io.depth_files import writing

TABLE, MANIFEST, REPORT = "frames.parquet", "manifest.jsonl", "report.json"
STAGES = ("coarse", "upsample", "select", "refine", "fuse", "total")
COLUMNS = {
    "input": "string",
    "kind": "string",
    "frame": "int64",
    "stamp_ns": "int64",
    "time_ms": "float64",
    "width": "int32",
    "height": "int32",
    "metric": "bool",
    "scale_source": "string",
    "refined_pixels": "int64",
    **{f"{stage}_ms": "float32" for stage in STAGES},
    "file": "string",
    "png_unit": "float64",
    "png_beyond": "int64",
    "confidence": "float32",
    **{name: "float64" for accuracy in ACCURACY for name in (accuracy, f"coarse_{accuracy}")},
    "reason": "string",
}
"""Column → its type; what a frame has not is null. reason: why there is no depth of it."""
_GROUP = 20_000  # rows that are held at once
_MOST_REASONS = 20


def require_table() -> None:
    """Raises SetupError where tables cannot be written."""
    if find_spec("pyarrow") is None:
        raise SetupError("a batch writes a Parquet table and needs pyarrow: pip install 'depth_retrofit_ros[batch]'")


@dataclass(slots=True)
class _Sums:
    """Of the rows that were written."""

    answered: int = 0
    failed: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        if row.get("reason") is not None:
            self.failed += "frame" in row  # of an input that failed there is none
            if row["reason"] in self.reasons or len(self.reasons) < _MOST_REASONS:
                self.reasons[row["reason"]] += 1
            return
        self.answered += 1
        self.kinds[row["kind"]] += 1
        for name in (*(f"{stage}_ms" for stage in STAGES), "confidence", *ACCURACY, *(f"coarse_{name}" for name in ACCURACY)):
            if (value := row.get(name)) is not None:
                self.sums[name] += value
                self.counts[name] += 1

    def means(self) -> dict[str, float]:
        return {name: self.sums[name] / count for name, count in sorted(self.counts.items())}


def conclude(place: Place, seals: Iterable[Row], facts: Row) -> Row:
    """Write table, manifest and report of these seals (see ``tasks.Done``; of an input that failed, ``input``, ``kind`` and
    ``reason``), in their order. facts: what the report says beside. Returns the report. Raises OutputError."""
    sums = _Sums()
    table, manifest = place.staging / TABLE, place.staging / MANIFEST
    with writing(table), manifest.open("w", encoding="utf-8") as lines:
        _write(table, (row for seal in seals for row in _rows(seal, sums, lines)))
    for file, name in ((table, TABLE), (manifest, MANIFEST)):
        place.publish(file, name)
    report = {
        **facts,
        "frames": {"answered": sums.answered, "failed": sums.failed, "by_kind": dict(sums.kinds)},
        "means": sums.means(),
        "reasons": dict(sums.reasons.most_common()),
        "digest": sums.digest.hexdigest(),
    }
    place.publish_text(json.dumps(report, indent=2, allow_nan=False) + "\n", REPORT)
    return report


def _rows(seal: Row, sums: _Sums, lines: Any) -> Iterator[Row]:
    manifest = {name: seal.get(name) for name in ("input", "kind", "number", "identity", "files", "facts", "remarks", "reason")}
    lines.write(json.dumps({name: value for name, value in manifest.items() if value is not None}) + "\n")
    for name, size, sha256 in seal.get("files", ()):
        sums.digest.update(f"{name} {size} {sha256}\n".encode())
    beside = {"input": seal["input"], "kind": seal["kind"]}
    rows = [{"reason": seal["reason"]}] if "reason" in seal else seal["rows"]
    for row in rows:
        whole = {**beside, **row}
        sums.add(whole)
        yield whole


def _plain(value: Any) -> Any:
    """A text without what is no UTF-8, such as bytes of a file's name, which becomes its escape."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _write(file: Any, rows: Iterator[Row]) -> None:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    types = {"bool": arrow.bool_(), **{name: getattr(arrow, name)() for name in set(COLUMNS.values()) - {"bool"}}}
    schema = arrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    with parquet.ParquetWriter(str(file), schema) as writer:
        group: list[Row] = []
        for row in rows:
            group.append({name: _plain(row.get(name)) for name in COLUMNS})
            if len(group) == _GROUP:
                writer.write_table(arrow.Table.from_pylist(group, schema))
                group = []
        writer.write_table(arrow.Table.from_pylist(group, schema))
