"""A resulting video while it is made, in parts of so many frames on the disk, so that an interrupted run goes on.

``OUT.mp4.parts/`` holds ``run.json`` (what makes the run) and, for each part, an MP4 and then, as its seal, a JSON. What has no
seal is made again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from depth_retrofit_ros.errors import OutputError, UsageError

LENGTH = 25
"""Frames in a part: what an interruption costs at most. Each begins with a frame that stands alone, as every 12th does anyway."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is done. number: from 0; times_ms: of its frames; size: (width, height) of its pictures; colors: see
    ``RunningRange.state``; metric: whether its depth is in metres; refined: pixels, of all its frames; depth: what ``frames.json``
    tells of each."""

    number: int
    times_ms: list[float]
    size: tuple[int, int]
    colors: list[float] | None
    metric: bool
    refined: int
    depth: list[dict[str, Any]] = field(default_factory=list)


class Parts:
    """The folder beside ``out``; done: its parts, in order. what: all that decides what comes out, as JSON.

    ``with Parts(...)`` holds it against another run. anew: whether parts of another run may be dropped. Raises UsageError where
    they may not, OutputError where the folder is not ours or cannot be made.
    """

    def __init__(self, out: Path, what: Mapping[str, Any], anew: bool) -> None:
        self.folder = parts_folder(out)
        self.done: list[Part] = []
        self._run = self.folder / "run.json"
        self._what = json.loads(json.dumps(what))
        self._anew = anew
        self._lock: int | None = None

    def __enter__(self) -> Parts:
        from depth_retrofit_ros.io.depth_files import make_folder, write_text

        is_new = not self.folder.exists()
        make_folder(self.folder)
        self._hold()
        try:
            if not is_new and not self._is_same():
                self._drop_others()
            if not self._run.exists():
                write_text(self._run, json.dumps(self._what, indent=2) + "\n")
            self.done = list(self._sealed())
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *of_error: object) -> None:
        """What was made stays, unless that is nothing."""
        try:
            if not self.done and self._run.exists():
                self.remove()
        finally:
            self._release()

    @property
    def frames(self) -> int:
        """How many frames are done."""
        return sum(len(part.times_ms) for part in self.done)

    @property
    def paths(self) -> list[Path]:
        """The MP4s of the parts that are done."""
        return [self.path(part.number) for part in self.done]

    def path(self, number: int) -> Path:
        """The MP4 of a part."""
        return self.folder / f"{number:06d}.mp4"

    def seal(self, part: Part) -> None:
        """Its MP4 is complete. Raises OutputError."""
        seal = self._seal(part.number)
        half = seal.with_suffix(".half")
        write_whole(half, json.dumps(asdict(part)) + "\n")
        half.replace(seal)
        self.done.append(part)

    def remove(self) -> None:
        """The run is finished, or has made nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.done = []

    def _seal(self, number: int) -> Path:
        return self.path(number).with_suffix(".json")

    def _sealed(self) -> Iterator[Part]:
        number = 0
        while True:
            try:
                told = json.loads(self._seal(number).read_text(encoding="utf-8"))
                part = Part(**{**told, "size": tuple(told["size"])})
            except (OSError, ValueError, TypeError, KeyError):
                return
            if part.number != number or not self.path(number).is_file():
                return
            yield part
            number += 1

    def _is_same(self) -> bool:
        try:
            return bool(json.loads(self._run.read_text(encoding="utf-8")) == self._what)
        except (OSError, ValueError):
            return False

    def _drop_others(self) -> None:
        """Make room, where what lies there is ours and may go."""
        names = {path.name for path in self.folder.iterdir()} - {"lock"}
        if names and self._run.name not in names:
            raise OutputError(
                f"{self.folder} is in the way: the parts of the video would lie there, move it or choose another --out"
            )
        if names and not self._anew:
            raise UsageError(
                f"{self.folder} holds an interrupted run of another video or with other options: give those to go on, or "
                "--overwrite to start again"
            )
        for name in names:
            (self.folder / name).unlink()

    def _hold(self) -> None:
        from depth_retrofit_ros.io.depth_files import writing

        with writing(self.folder / "lock"):
            self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise UsageError(f"another run is at work in {self.folder}: wait for it, or choose another --out") from None
        except OSError:  # a file system without locks: nothing is held there
            pass

    def _release(self) -> None:
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)
            self._lock = None


def parts_folder(out: Path) -> Path:
    """Where the parts of ``out`` lie while it is made."""
    return out.with_name(f"{out.name}.parts")


def write_whole(path: Path, text: str) -> None:
    """``text``, on the disk when this returns. Raises OutputError."""
    from depth_retrofit_ros.io.depth_files import writing

    with writing(path), path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def unfinished(parts: Parts, say: Any) -> Iterator[None]:
    """A block that makes parts; where it is left early, ``say`` takes how to go on."""
    try:
        yield
    except BaseException:
        if parts.done:
            say(f"{parts.frames} frames are kept in {parts.folder}: the same command goes on from there")
        raise
