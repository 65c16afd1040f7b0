"""``--depth DIR``: every frame's depth as a 16-bit PNG, and what each is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

DOCUMENT = "frames.json"


class DepthFolder:
    """stem: the video's; may_write: whether one that an earlier run filled may be written into. Raises UsageError, OutputError."""

    def __init__(self, path: Path, stem: str, may_write: bool) -> None:
        from depth_retrofit_ros.io.depth_files import make_folder

        if not may_write and (path / DOCUMENT).exists():
            raise UsageError(f"{path} holds an earlier run's depth: give --overwrite, or another --depth")
        self._path, self._stem = make_folder(path), stem

    def write(self, number: int, time_ms: float, depth: np.ndarray, metric: bool) -> dict[str, Any]:
        """``float32 [H, W]`` of a frame; returns what the document tells of it: in the file, depth is value times unit."""
        from depth_retrofit_ros.io.depth_files import write_depth_png

        name = f"{self._stem}_{number:06d}_{'depth' if metric else 'relative'}.png"
        png = write_depth_png(self._path / name, depth, metric)
        return {"file": name, "time_ms": round(time_ms, 3), "metric": metric, "png_unit": png.unit, "png_beyond": png.beyond}

    def conclude(self, entries: Iterable[dict[str, Any]]) -> None:
        """Write the document, and remove what an earlier one names that is not in it. Raises OutputError."""
        from depth_retrofit_ros.io.depth_files import write_text, writing

        told = list(entries)
        for name in _named(self._path / DOCUMENT) - {str(entry["file"]) for entry in told}:
            with writing(self._path / name):
                (self._path / name).unlink(missing_ok=True)
        write_text(self._path / DOCUMENT, json.dumps(told, indent=1) + "\n")


def _named(document: Path) -> set[str]:
    """The PNGs of an earlier run in the same folder; none where its document cannot be read."""
    try:
        names = [entry["file"] for entry in json.loads(document.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError):
        return set()
    return {name for name in names if isinstance(name, str) and name.endswith(".png") and Path(name).name == name}
