"""Programs that took seconds or minutes to make, kept on disk and read for as long as nothing that went into them has changed.

A program is a file, or a folder of files, with a note beside it that says what it was made of (its key) and which bytes it has. The
note is written last, and both take their place whole, so that whatever is interrupted leaves nothing that could be taken for a
program. It is read only where its note has exactly the key that is asked for, and its bytes are those of the note.
"""

from __future__ import annotations

import dataclasses
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
from typing import IO, Any, TypeVar

import torch
from torch import nn

from depth_retrofit_ros.coarse.engines.base import Source, Tensors
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import first_line
from depth_retrofit_ros.io.digests import digest_of

FOLDER_VARIABLE = "DEPTH_RETROFIT_ENGINES"
LARGEST_MB = 8000.0  # of all programs of a cache; what was not used for longest goes first
PARTIAL = "partial-"  # how the name of what is being written begins
Key = Mapping[str, str]
_Program = TypeVar("_Program")
_LOG = logging.getLogger(__name__)
_CODE = Path(__file__).resolve().parents[1]  # where the networks and their adapters are
_OF_A_VERSION = ("torch", "transformers")  # packages whose version tells their code
_given: dict[tuple[str, str], dict[Path, tuple[ProgramCache, Key]]] = {}  # by model and inputs: what this process was given


def engines_folder() -> Path:
    """``DEPTH_RETROFIT_ENGINES``, else a folder in the user's cache."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_retrofit_ros" / "engines"


def described(inputs: Tensors) -> str:
    """Shapes and dtypes, as the entry ``inputs`` of a key."""
    return ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in inputs)


def discard(source: Source, inputs: Tensors) -> bool:
    """Remove the programs of this model and inputs of these shapes that this process read or kept, as they answer something else:
    the next start makes them anew. Whether there were any."""
    found = _given.pop((source.model, described(inputs)), {})
    return any([cache.discard(key) for cache, key in found.values()])


class ProgramCache:
    """Programs by key in a folder, which need not exist yet. suffix: of the programs' names; the notes' is ``.json``."""

    def __init__(self, folder: Path, suffix: str = ".pt2") -> None:
        self.folder, self._suffix = folder, suffix

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
        if "inputs" in key:
            _given.setdefault((key["model"], key["inputs"]), {})[self.file(key)] = (self, key)
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

    def file(self, key: Key) -> Path:
        """Where the program of the key is, if it is kept. What else begins with its name and a dot belongs to it."""
        return self._files(key)[0]

    def discard(self, key: Key) -> bool:
        """Remove the program of the key, so that it is made anew. Whether there was one; what cannot be removed is told."""
        file, note = self._files(key)
        if not note.is_file():
            return False
        try:
            with self._locked():
                self._remove(note)
        except (_CannotWrite, OSError) as error:
            _LOG.warning("cannot remove the program %s (%s): remove it by hand", file, error)
            return False
        _LOG.info("program of %s removed from %s", key["model"], file)
        return True

    def _read(self, key: Key, load: Callable[[Path], _Program], tells: bool) -> _Program | None:
        """None where there is none; tells: why one that is there does not count, which may be that it is just being replaced."""
        file, note = self._files(key)
        try:
            told = _read_note(note)
            if told["key"] != dict(key):
                return None  # of the same name by chance, or by an older version of this
            if not file.exists():
                raise ValueError("it is gone")
            if _digest(file) != told["sha256"]:
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
            _LOG.info("program of %s read from %s (%.1f MB)", key["model"], file, _size_mb(file))
            return program
        if tells:
            _LOG.warning("%s is not what was kept there (%s): it is made anew", file, reason)
        return None

    def _keep(self, key: Key, program: _Program, save: Callable[[_Program, Path], None]) -> None:
        file, note = self._files(key)
        try:
            with replaced(file) as scratch:
                self._remove(note)
                save(program, scratch)
                written = {"sha256": _digest(scratch), "key": dict(key)}
            with replaced(note) as scratch:
                scratch.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        except Exception as error:  # of the disk, or whatever the library raises for a program that it cannot write
            self._tell_not_kept(first_line(error))
            return
        size_mb, all_mb = _size_mb(file), self._pruned(note)
        _LOG.info("program of %s kept as %s (%.1f MB; all that are kept there: %.1f MB)", key["model"], file, size_mb, all_mb)

    def _pruned(self, newest: Path) -> float:
        """Megabytes of all programs, when the oldest are gone until no more than ``LARGEST_MB`` are left; the newest stays.

        What an interrupted write left goes first: nothing else is being written, for the folder is locked.
        """
        notes = sorted(self.folder.glob("*.json"), key=lambda note: note.stat().st_mtime)
        known = {note.stem for note in notes}
        for path in self.folder.iterdir():
            name = path.name.removeprefix(PARTIAL)
            if name != path.name or ((found := _NAME.match(name)) and found[0] not in known):
                with suppress(OSError):  # what cannot be removed stays
                    _remove(path)
        sizes = {note: sum(_size_mb(path) for path in self._belonging(note) if path != note) for note in notes}
        for note in notes:
            if sum(sizes.values()) > LARGEST_MB and note != newest:
                with suppress(OSError):
                    self._remove(note)
                    del sizes[note]
        return sum(sizes.values())

    def _belonging(self, note: Path) -> list[Path]:
        """A note, its program, and what an engine made of that."""
        return [path for path in self.folder.iterdir() if path.name == note.stem or path.name.startswith(f"{note.stem}.")]

    def _remove(self, note: Path) -> None:
        note.unlink(missing_ok=True)  # first: without it nothing else counts
        for path in self._belonging(note):
            _remove(path)

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
        return self.folder / f"{name}{self._suffix}", self.folder / f"{name}.json"

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


_NAME = re.compile(r"[A-Za-z0-9._-]+-[0-9a-f]{16}(?=\.[a-z0-9]+$|$)")  # of a program, without its suffix


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size_mb(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _read_note(note: Path) -> dict[str, Any]:
    """Raises OSError, and ValueError where it is not what was written."""
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
    except ValueError as error:  # JSON's, or UTF-8's
        raise ValueError(f"its note {note.name} is damaged") from error
    if not isinstance(told, dict) or not {"key", "sha256"} <= told.keys():
        raise ValueError(f"its note {note.name} is damaged")
    return told


def _digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and digests of its files."""
    if not path.is_dir():
        return digest_of(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("".join(f"{file.relative_to(path)} {digest_of(file)}\n" for file in files).encode()).hexdigest()


class _CannotWrite(Exception):
    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason or "no reason given"


@contextmanager
def replaced(file: Path, begin_with_it: bool = False) -> Iterator[Path]:
    """A scratch file, or folder, that takes the place of ``file``, whole, when the block ends; it goes where that fails.

    Where the block writes none, ``file`` stays as it is. begin_with_it: whether the scratch file begins as a copy of what is there.
    """
    scratch = file.with_name(f"{PARTIAL}{file.name}")
    try:
        _remove(scratch)
        if begin_with_it and file.is_file():
            shutil.copyfile(file, scratch)
        yield scratch
        if scratch.is_dir() and file.exists():
            _remove(file)  # no rename takes the place of a folder that has files
        if scratch.exists():
            scratch.replace(file)
    finally:
        _remove(scratch)


def code_digest(network: nn.Module) -> str:
    """SHA-256 of the code and the settings that a network is made of, beside its weights.

    The code: what this package has for models, and all of other packages that define modules of the network, with their versions;
    of those that are ``_OF_A_VERSION`` the defining files at most. The settings: numbers, words and configurations that the modules
    have as attributes, which come from a ``config.json`` or an argument.
    """
    modules = {type(module).__module__ for module in network.modules()}
    others = {name for name in modules if name.partition(".")[0] != "torch"}
    files = {Path(file) for name in others if (file := getattr(sys.modules.get(name), "__file__", None))}
    digest = hashlib.sha256()
    for package in sorted({name.partition(".")[0] for name in others}):
        found = sys.modules.get(package)
        digest.update(f"{package} {getattr(found, '__version__', '')}\n".encode())
        if package not in (*_OF_A_VERSION, __name__.partition(".")[0]):
            files.update(file for folder in getattr(found, "__path__", ()) for file in Path(folder).rglob("*.py"))
    for file in sorted({*files, *_CODE.rglob("*.py")}):
        digest.update(file.read_bytes())
    for name, module in network.named_modules():
        for attribute, value in sorted(vars(module).items()):
            if not attribute.startswith("_") and (words := _setting(value)) is not None:
                digest.update(f"{name}.{attribute} {words}\n".encode())
    return digest.hexdigest()


def _setting(value: object) -> str | None:
    """A value in words that are the same at each start; None for what is no setting."""
    if callable(to_json := getattr(value, "to_json_string", None)):  # a configuration of transformers
        return str(to_json(use_diff=False))
    if isinstance(value, list | tuple):
        words = [_setting(entry) for entry in value]
        return None if None in words else repr(words)
    is_setting = value is None or isinstance(value, bool | int | float | str | torch.dtype) or dataclasses.is_dataclass(value)
    words_of_it = repr(value) if is_setting else ""
    return None if not words_of_it or " at 0x" in words_of_it else words_of_it


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of everything in the state dict, for a network that has no checkpoint."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
