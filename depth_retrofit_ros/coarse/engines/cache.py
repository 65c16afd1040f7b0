"""Programs that took minutes to make, kept on disk and taken from there for as long as nothing that went into them has changed.

A program is a file, with a note beside it that says what it was made of (its key) and which bytes it has. The note is written last,
and both take their place whole, so that whatever is interrupted leaves nothing that could be taken for a program. A file is read
only where its note has exactly the key that is asked for, and its bytes are those of the note.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

import torch
from torch import nn

from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import first_line
from depth_retrofit_ros.io.digests import digest_of

FOLDER_VARIABLE = "DEPTH_RETROFIT_ENGINES"
LARGEST_MB = 8000.0  # of all programs of a cache; what was not used for longest goes first
Key = Mapping[str, str]
_Program = TypeVar("_Program")
_LOG = logging.getLogger(__name__)
_CODE = Path(__file__).resolve().parents[1]  # where the networks and their adapters are


def engines_folder() -> Path:
    """``DEPTH_RETROFIT_ENGINES``, else a folder in the user's cache."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_retrofit_ros" / "engines"


class ProgramCache:
    """Programs by key in a folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def program(
        self,
        key: Key,
        build: Callable[[Path | None], _Program],
        save: Callable[[_Program, Path], None],
        load: Callable[[Path], _Program],
    ) -> _Program:
        """That of the key: read with ``load`` where it is kept, else made with ``build`` and kept with ``save``.

        build: given the folder while nobody else writes there, for files of its own; None where nothing can be written.
        One process builds at a time, also of different keys, for two that time kernels on one GPU would mislead each other; those
        that wait read what it has made. A folder that cannot be written costs the cache, not the program, and one line says so.
        """
        if (found := self._read(key, load, tells=False)) is not None:
            return found
        try:
            with self._locked():
                if (found := self._read(key, load, tells=True)) is not None:
                    return found  # another process was faster
                made = build(self.folder)
                self._keep(key, made, save)
                return made
        except _CannotWrite as error:
            self._tell_not_kept(error.reason)
        return build(None)

    def _read(self, key: Key, load: Callable[[Path], _Program], tells: bool) -> _Program | None:
        """None where there is none; tells: why one that is there does not count, which may be that it is just being replaced."""
        file, note = self._files(key)
        try:
            told = json.loads(note.read_text(encoding="utf-8"))
            if told["key"] != dict(key):
                return None  # of the same name by chance, or by an older version of this
            if not file.is_file():
                raise ValueError("it is gone")
            if digest_of(file) != told["sha256"]:
                raise ValueError("its SHA-256 is another")
            program = load(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError, OSError, WeightsError) as error:
            reason = first_line(error)
        except Exception as error:  # whatever the library raises for a program that it cannot read
            reason = f"{type(error).__name__}: {first_line(error)}"
        else:
            with suppress(OSError):  # of a folder that can only be read
                os.utime(note)
            _LOG.info("program of %s read from %s (%.1f MB)", key["model"], file, file.stat().st_size / 1e6)
            return program
        if tells:
            _LOG.warning("%s is not what was kept there (%s): it is made anew", file, reason)
        return None

    def _keep(self, key: Key, program: _Program, save: Callable[[_Program, Path], None]) -> None:
        file, note = self._files(key)
        try:
            with replaced(file) as scratch:
                save(program, scratch)
                written = {"sha256": digest_of(scratch), "key": dict(key)}
            with replaced(note) as scratch:
                scratch.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        except Exception as error:  # of the disk, or whatever the library raises for a program that it cannot write
            self._tell_not_kept(first_line(error))
            return
        size_mb, all_mb = file.stat().st_size / 1e6, self._pruned(note)
        _LOG.info("program of %s kept as %s (%.1f MB; all that are kept there: %.1f MB)", key["model"], file, size_mb, all_mb)

    def _pruned(self, newest: Path) -> float:
        """Megabytes of all programs, when the oldest are gone until no more than ``LARGEST_MB`` are left; the newest stays."""
        notes = sorted(self.folder.glob("*.json"), key=lambda note: note.stat().st_mtime)
        sizes = {note: note.with_suffix(".pt2").stat().st_size / 1e6 for note in notes if note.with_suffix(".pt2").is_file()}
        for note in list(sizes):
            if sum(sizes.values()) > LARGEST_MB and note != newest:
                with suppress(OSError):  # what cannot be removed stays
                    note.unlink()
                    note.with_suffix(".pt2").unlink()
                    del sizes[note]
        return sum(sizes.values())

    def _tell_not_kept(self, reason: str) -> None:
        _LOG.warning(
            "cannot keep a program in %s (%s): each start makes it anew, unless %s is a folder that has room for it",
            self.folder,
            reason,
            FOLDER_VARIABLE,
        )

    def _files(self, key: Key) -> tuple[Path, Path]:
        """The program, and its note."""
        words = json.dumps(dict(key), sort_keys=True).encode()
        name = f"{re.sub(r'[^A-Za-z0-9.-]+', '_', key['model'])}-{hashlib.sha256(words).hexdigest()[:16]}"
        return self.folder / f"{name}.pt2", self.folder / f"{name}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The folder, nobody else's for as long as it takes. Raises _CannotWrite."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("wb")
        except OSError as error:
            raise _CannotWrite(error.strerror) from None
        with file:
            try:
                self._lock(file)
            except OSError as error:  # a file system that has no locks
                raise _CannotWrite(error.strerror) from None
            yield

    def _lock(self, file: IO[bytes]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.info("another process makes a program for %s: waiting for it", self.folder)
            fcntl.flock(file, fcntl.LOCK_EX)


class _CannotWrite(Exception):
    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason or "no reason given"


@contextmanager
def replaced(file: Path, begin_with_it: bool = False) -> Iterator[Path]:
    """A scratch file that takes the place of ``file``, whole, when the block ends, and goes where it fails or writes none.

    begin_with_it: whether the scratch file begins as a copy of what is there.
    """
    scratch = file.with_name(f"partial-{file.name}")
    try:
        scratch.unlink(missing_ok=True)
        if begin_with_it and file.is_file():
            shutil.copyfile(file, scratch)
        yield scratch
        if scratch.is_file():
            scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def code_digest(network: nn.Module) -> str:
    """SHA-256 of the code that a network is made of: what this package has for models, and other packages' files that define its
    modules, with those packages' versions. torch's own is told by torch's version."""
    modules = {type(module).__module__ for module in network.modules()}
    others = {name for name in modules if name.partition(".")[0] != "torch"}
    files = {Path(file) for name in others if (file := getattr(sys.modules.get(name), "__file__", None))}
    digest = hashlib.sha256()
    for package in sorted({name.partition(".")[0] for name in others}):
        digest.update(f"{package} {getattr(sys.modules.get(package), '__version__', '')}\n".encode())
    for file in sorted({*files, *_CODE.rglob("*.py")}):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of everything in the state dict, for a network that has no checkpoint."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
