"""Files of a remote store by fsspec: each call is tried again on a new connection before it fails, in one line."""

from __future__ import annotations

import threading
import time
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
_open = threading.local()  # a connection serves one thread: paramiko's replies of two would wait for one another


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
            try:
                return use(self._filesystem())
            except (FileNotFoundError, PermissionError):
                raise
            except Exception as caught:  # each store has its own
                error = caught
                self._drop()
            if pause_s is not None:
                time.sleep(pause_s)
        reason = without_user(str(error), self._uri) or type(error).__name__
        raise StorageError(f"cannot {what} ({reason}): check the address, the network and the credentials") from None

    def fetch(self, path: str, to: Path) -> None:
        """A file, whole. Raises FileNotFoundError, PermissionError, StorageError."""

        def get(filesystem: Any) -> None:
            filesystem.get_file(path, str(to))

        self.call(f"read {self._uri.at(path)}", get)

    def put(self, file: Path, path: str) -> None:
        """A file, so that nobody sees half of it."""
        parent = path.rpartition("/")[0]
        if self._uri.scheme != "sftp":  # an object appears when all of it is there
            self.call(f"write {self._uri.at(path)}", lambda filesystem: filesystem.put_file(str(file), path))
            return
        half = f"{path}.half"

        def put(filesystem: Any) -> None:
            filesystem.makedirs(parent, exist_ok=True)
            filesystem.put_file(str(file), half)
            filesystem.mv(half, path)

        self.call(f"write {self._uri.at(path)}", put)

    def files(self, path: str) -> dict[str, dict[str, Any]]:
        """All files below a folder, by path; none where there is no such folder."""

        def find(filesystem: Any) -> dict[str, dict[str, Any]]:
            if not filesystem.exists(path):
                return {}
            found = filesystem.find(path, detail=True)
            return {str(name): dict(info) for name, info in found.items()}

        return self.call(f"list {self._uri.at(path)}", find)

    def _filesystem(self) -> Any:
        opened: dict[tuple[object, ...], Any] = _open.__dict__.setdefault("filesystems", {})
        if self._key not in opened:
            opened[self._key] = self._connected()
        return opened[self._key]

    def _drop(self) -> None:
        if (filesystem := _open.__dict__.get("filesystems", {}).pop(self._key, None)) is not None:
            client = getattr(filesystem, "client", None)
            if client is not None:
                client.close()

    def _connected(self) -> Any:
        if self._uri.scheme == "sftp":
            module = import_module("depth_retrofit_ros.batch.sftp")
            given = {"port": self._uri.port, "username": self._uri.user, "password": self._uri.password}
            return module.KnownHostSftp(self._uri.host, **{name: value for name, value in given.items() if value is not None})
        return import_module("fsspec").filesystem(self._uri.scheme, skip_instance_cache=True, use_listings_cache=False)
