"""The folder that takes the results: local or remote, whole files only."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from depth_retrofit_ros.batch.remote import Remote, close_connections
from depth_retrofit_ros.batch.uris import Uri
from depth_retrofit_ros.errors import NoRoomError, OutputError, StorageError, UsageError
from depth_retrofit_ros.io.depth_files import make_folder, writing

STAGING = ".staging"


class Written(NamedTuple):
    """A file of the results. name: within the folder; sha256: of its content, in hexadecimal."""

    name: str
    size: int
    sha256: str


class Place:
    """``with Place(uri) as place: ...`` holds a folder to write into while others do so too; raises OutputError.

    Files are made in ``staging``, a folder of this process alone, and appear under their names when they are whole. name: of that
    folder, one that nobody else has; None for any.
    """

    def __init__(self, uri: Uri, name: str | None = None) -> None:
        self.uri = uri
        self._name = name or uuid.uuid4().hex
        self._root = uri.local
        self._remote = None if self._root is not None else Remote(uri)
        self.staging = Path()

    def __enter__(self) -> Place:
        if self._root is None:
            self.staging = Path(tempfile.mkdtemp(prefix="depth_retrofit_batch_"))
        else:
            self.staging = make_folder(self._root / STAGING / self._name)
        return self

    def __exit__(self, *of_error: object) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)
        close_connections()
        if self._root is not None:
            with suppress(OSError):  # others are at work
                (self._root / STAGING).rmdir()

    def publish(self, file: Path, name: str) -> Written:
        """A file of ``staging`` under its name, in place of what was there. Raises OutputError."""
        size, digest = file.stat().st_size, _sha256(file)
        if self._root is None:
            assert self._remote is not None
            try:
                self._remote.put(file, self._path(name))
            except StorageError as error:
                raise NoRoomError(f"{error}; what is done is kept, --resume goes on from there") from None
            except OSError as error:
                raise OutputError(f"cannot write {self._told(name, error)}") from None
            file.unlink()
            return Written(name, size, digest)
        target = self._root / name
        make_folder(target.parent)
        with writing(target):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            file.replace(target)
        return Written(name, size, digest)

    def publish_text(self, text: str, name: str) -> Written:
        """UTF-8. Raises OutputError."""
        file = self.staging / f"{uuid.uuid4().hex}.text"
        with writing(file):
            file.write_text(text, encoding="utf-8", errors="backslashreplace")
        return self.publish(file, name)

    def sizes(self, folder: str) -> dict[str, int]:
        """The files below a folder of it, by name, and their sizes [bytes]. Raises StorageError."""
        if self._remote is not None:
            root = self.uri.path.rstrip("/")
            try:
                found = self._remote.files(self._path(folder))
            except PermissionError as error:
                raise StorageError(f"cannot list {self._told(folder, error)}") from None
            return {path.partition(f"{root}/")[2]: int(info.get("size") or 0) for path, info in found.items()}
        assert self._root is not None
        sizes: dict[str, int] = {}
        for below, _, names in os.walk(self._root / folder, onerror=_refused):
            for name in names:
                file = Path(below, name)
                with suppress(FileNotFoundError):
                    sizes[file.relative_to(self._root).as_posix()] = file.stat().st_size
        return sizes

    def read(self, name: str) -> str | None:
        """A text file; None where there is none. Raises StorageError."""
        if self._remote is not None:
            path = self._path(name)
            try:
                data = self._remote.call(f"read {self.uri.at(path)}", lambda filesystem: filesystem.cat_file(path))
            except FileNotFoundError:
                return None
            except PermissionError as error:
                raise StorageError(f"cannot read {self._told(name, error)}") from None
            return bytes(data).decode(errors="replace")
        assert self._root is not None
        try:
            return (self._root / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self._root / name} ({error.strerror}): check its permissions") from None

    def remove(self, name: str) -> None:
        """A file of it, if it is there. Raises OutputError, StorageError."""
        if self._remote is not None:
            path = self._path(name)
            try:
                with suppress(FileNotFoundError):
                    self._remote.call(f"remove {self.uri.at(path)}", lambda filesystem: filesystem.rm_file(path))
            except PermissionError as error:
                raise OutputError(f"cannot remove {self._told(name, error)}") from None
            return
        assert self._root is not None
        with writing(self._root / name):
            (self._root / name).unlink(missing_ok=True)

    def _path(self, name: str) -> str:
        return f"{self.uri.path.rstrip('/')}/{name}"

    def _told(self, name: str, error: OSError) -> str:
        return f"{self.uri.at(self._path(name))} ({error.strerror or type(error).__name__}): check its permissions"

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block of the one process that leads a run; what others that died left half made is removed.

        Raises UsageError where another one does, which a remote store does not tell.
        """
        if self._root is None:
            yield
            return
        lock = self._root / ".lock"
        with writing(lock):
            descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another run is at work in {self._root}: wait for it, or choose another --out") from None
            except OSError:  # a file system without locks: nothing is held there
                pass
            self._tidy()
            try:
                yield
            finally:
                self._tidy()
        finally:
            os.close(descriptor)

    def _tidy(self) -> None:
        assert self._root is not None
        for left in (self._root / STAGING).glob("*"):
            if left != self.staging:
                shutil.rmtree(left, ignore_errors=True)


def _refused(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise StorageError(f"cannot list {error.filename} ({error.strerror}): check its permissions")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.sha256()
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
