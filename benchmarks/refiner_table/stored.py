"""What stored figures are of, and by which machine: they are measured again where what is asked for is not what they are of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.bench.timing import rounded
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.io.depth_files import write_text


@dataclass(slots=True)
class Store:
    """A JSON document, written whenever it gets something. again: as if nothing were stored."""

    path: Path
    empty: Any
    threads: int
    again: bool
    document: Any = field(init=False)

    def __post_init__(self) -> None:
        self.document = read(self.path, self.empty)

    def by(self) -> Entry:
        """What measures."""
        return {"machine": machine(), "threads": self.threads, "torch": torch.__version__}

    def lacks(self, place: Entry, name: str, of: Entry) -> bool:
        """Whether ``place[name]`` is to be measured: it is not there, or of something else."""
        return self.again or (place.get(name) or {}).get("of") != rounded(of)

    def put(self, place: Entry, name: str, of: Entry, figures: Entry | None) -> None:
        """Keep a row of ``place``, a part of the document. figures: None where there are none to be had."""
        place[name] = rounded({"of": of, "by": self.by(), **(figures or {})})
        self.write()

    def write(self) -> None:
        """Whole or not at all, in four digits."""
        write_text(self.path, json.dumps(rounded(self.document), indent=1, allow_nan=False) + "\n")


def read(path: Path, empty: Any) -> Any:
    """A document, ``empty`` where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else empty
