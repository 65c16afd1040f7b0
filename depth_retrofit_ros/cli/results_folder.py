"""The folder of ``--out``: not left behind empty, and without what an earlier run wrote that this one contradicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def results_folder(path: Path) -> Iterator[None]:
    """Made with its parents; what was made and is empty when the work in it fails is removed. Raises OutputError."""
    from depth_retrofit_ros.io.depth_files import make_folder

    absent = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first one that is not empty ends it
            for folder in absent:
                folder.rmdir()
        raise


def recorded_files(document: Path) -> frozenset[str]:
    """The files that an earlier run's ``images.json`` or ``cameras.json`` says that it wrote; none where it cannot be read."""
    try:
        found: Any = json.loads(document.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()
    entries = found.get("views", []) if isinstance(found, dict) else found
    names = [found.get("cloud")] if isinstance(found, dict) else []
    for entry in entries if isinstance(entries, list) else []:
        files = entry.get("files") if isinstance(entry, dict) else None
        names += files.values() if isinstance(files, dict) else []
    return frozenset(name for name in names if isinstance(name, str))


def remove_other_kind(folder: Path, written: Iterable[str], recorded: frozenset[str], metric: bool) -> None:
    """Where relative depth was written, the metric files of the same name, and the other way around.

    written: the names of one image's files; recorded: see ``recorded_files``. What no earlier run recorded is somebody else's file
    and stays. Raises OutputError.
    """
    from depth_retrofit_ros.io.depth_files import writing

    for name in written:
        path = folder / other_kind(name, metric)
        if path.name != name and path.name in recorded:
            with writing(path):
                path.unlink(missing_ok=True)


def other_kind(name: str, metric: bool) -> str:
    """``a_depth.png`` of ``a_relative.png``, ``a.ply`` of ``a_relative.ply``, and back again; metric: what ``name`` is."""
    stem, dot, suffix = name.rpartition(".")
    ours, theirs = ("depth", "relative") if metric else ("relative", "depth")
    if suffix == "ply":
        other = f"{stem}_relative" if metric else stem.removesuffix("_relative")
    else:
        other = stem.removesuffix(f"_{ours}") + f"_{theirs}" if stem.endswith(f"_{ours}") else stem
    return f"{other}{dot}{suffix}"
