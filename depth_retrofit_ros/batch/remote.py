"""Files of a remote store by fsspec: each call is tried again on a new connection before it fails, in one line."""

from __future__ import annotations

import errno
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from depth_retrofit_ros.batch.uris import Uri, without_user
from depth_retrofit_ros.errors import SetupError, StorageError

T = TypeVar("T")

NEEDS: Mapping[str, tuple[str, str]] = {
    "sftp": ("paramiko", "pip install 'depth_retrofit_ros[sftp]'"),
    "s3": ("s3fs", "pip install s3fs"),
    "gs": ("gcsfs", "pip install gcsfs"),
}
PAUSES_S = (1.0, 4.0, 15.0)  # before each further try
ROOM = "set TMPDIR to a writable folder with more room"
_HERE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # no store says so of itself in a number
_idle: defaultdict[tuple[object, ...], list[Any]] = defaultdict(list)  # connections that nobody uses; one serves one call at a time
_idle_lock = threading.Lock()


def require(scheme: str) -> None:
    """Raises SetupError where this store's packages are not installed."""
    package, remedy = NEEDS[scheme]
    missing = [name for name in ("fsspec", package) if find_spec(name) is None]
    if missing:
        raise SetupError(f"{scheme}:// needs {' and '.join(missing)}: {remedy}")


class Remote:
    """The store of a URI. Raises StorageError where it cannot be reached, or breaks off, several times."""

    def __init__(self, uri: Uri) -> None:
        require(uri.scheme)
        self._uri = uri
        self._key = (uri.scheme, uri.host, uri.port, uri.user)

    def call(self, what: str, use: Callable[[Any], T]) -> T:
        """``use`` of the file system. FileNotFoundError and PermissionError are no reason to try again, and raised as they are."""
        error: BaseException | None = None
        for pause_s in (*PAUSES_S, None):
            filesystem = None
            try:
                filesystem = self._taken()
                result = use(filesystem)
            except Exception as caught:  # each store has its own
                # Of a file, not of what a connection begins with, such as a file of known hosts that is not there.
                if filesystem is not None and isinstance(caught, (FileNotFoundError, PermissionError, StorageError)):
                    self._put_back(filesystem)
                    raise
                error = caught
                _close([] if filesystem is None else [filesystem], self._key)
            else:
                self._put_back(filesystem)
                return result
            if pause_s is not None:
                time.sleep(pause_s)
        reason = without_user(str(error), self._uri) or type(error).__name__
        raise StorageError(f"cannot {what} ({reason}): check the address, the network and the credentials") from None

    def fetch(self, path: str, to: Path) -> None:
        """A file, whole. Raises FileNotFoundError, PermissionError, StorageError."""

        def get(filesystem: Any) -> None:
            try:
                filesystem.get_file(path, str(to))
            except OSError as error:
                if error.errno in _HERE or error.filename == str(to):
                    raise StorageError(f"cannot write {self._uri.at(path)} into {to.parent} ({error.strerror}): {ROOM}") from None
                raise

        self.call(f"read {self._uri.at(path)}", get)

    def put(self, file: Path, path: str) -> None:
        """A file, so that nobody sees half of it."""
        parent = path.rpartition("/")[0]
        if self._uri.scheme != "sftp":  # an object appears when all of it is there
            self.call(f"write {self._uri.at(path)}", lambda filesystem: filesystem.put_file(str(file), path))
            return
        half = f"{path}.{uuid.uuid4().hex[:8]}.half"  # nobody else's, whoever writes the same at the same time

        def put(filesystem: Any) -> None:
            filesystem.makedirs(parent, exist_ok=True)
            filesystem.put_file(str(file), half)
            filesystem.mv(half, path)

        self.call(f"write {self._uri.at(path)}", put)

    def info(self, path: str) -> dict[str, Any] | None:
        """Of a file or a folder; None where the store says that there is none. Raises PermissionError, StorageError."""
        try:
            return self.call(f"look at {self._uri.at(path)}", lambda filesystem: dict(filesystem.info(path)))
        except FileNotFoundError:
            return None

    def entries(self, folder: str) -> dict[str, dict[str, Any]]:
        """What is in a folder, by path; none where there is no such folder. Raises PermissionError, StorageError."""
        try:
            listed = self.call(f"list {self._uri.at(folder)}", lambda filesystem: filesystem.ls(folder, detail=True))
        except FileNotFoundError:
            return {}
        except PermissionError as error:  # a store may not say of what
            raise PermissionError(error.errno, error.strerror or "Permission denied", str(self._uri.at(folder))) from None
        named = ((str(info["name"]).rstrip("/"), dict(info)) for info in listed)
        return {name: info for name, info in named if name != folder.rstrip("/")}  # an object may have the name of a folder

    def files(self, path: str) -> dict[str, dict[str, Any]]:
        """All files below a folder, by path; none where there is no such folder. Raises PermissionError, StorageError."""
        if self._uri.scheme != "sftp":  # one listing of all objects that begin so

            def find(filesystem: Any) -> dict[str, dict[str, Any]]:
                return {str(name): dict(info) for name, info in filesystem.find(path, detail=True).items()}

            return self.call(f"list {self._uri.at(path)}", find)
        found: dict[str, dict[str, Any]] = {}
        folders = [path]
        while folders:  # fsspec's own ``walk`` leaves out what it cannot list
            for name, info in self.entries(folders.pop()).items():
                if info["type"] == "directory":
                    folders.append(name)
                else:
                    found[name] = info
        return found

    def _taken(self) -> Any:
        with _idle_lock:
            if _idle[self._key]:
                return _idle[self._key].pop()
        return self._connected()

    def _put_back(self, filesystem: Any) -> None:
        with _idle_lock:
            _idle[self._key].append(filesystem)

    def _connected(self) -> Any:
        if self._uri.scheme == "sftp":
            module = import_module("depth_retrofit_ros.batch.sftp")
            given = {"port": self._uri.port, "username": self._uri.user, "password": self._uri.password}
            return module.KnownHostSftp(self._uri.host, **{name: value for name, value in given.items() if value is not None})
        return import_module("fsspec").filesystem(self._uri.scheme, skip_instance_cache=True, use_listings_cache=False)


def close_connections() -> None:
    """Those that nobody uses; a call after that opens another one."""
    with _idle_lock:
        keys = list(_idle)
    for key in keys:
        _close([], key)


def _close(filesystems: list[Any], key: tuple[object, ...]) -> None:
    """These, and the idle ones of the same store, which may have broken with them."""
    with _idle_lock:
        filesystems = filesystems + _idle.pop(key, [])
    for filesystem in filesystems:
        if (client := getattr(filesystem, "client", None)) is not None:
            client.close()
