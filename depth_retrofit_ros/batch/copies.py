"""Remote inputs as files of this machine, for as long as somebody reads them and a little longer."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from depth_retrofit_ros.batch.inputs import Item, fetched
from depth_retrofit_ros.batch.uris import Uri

KEPT = 3  # those at work, and one whose parts go on

Fetch: TypeAlias = "Callable[[Item, Path], Path]"


@dataclass(slots=True)
class _Copy:
    folder: Path
    users: int = 0
    path: Path | None = None
    fetching: Lock = field(default_factory=Lock)


class Copies:
    """Below ``folder``, each once however many ask for it at the same time; of those that nobody reads ``KEPT`` in all are kept.
    Usable from several threads. fetch: see ``inputs.fetched``."""

    def __init__(self, folder: Path, fetch: Fetch = fetched) -> None:
        self._folder, self._fetch = folder, fetch
        self._copies: OrderedDict[tuple[Uri, str], _Copy] = OrderedDict()
        self._lock = Lock()

    def hold(self, item: Item, identity: str) -> Path:
        """The input that was like this, until ``release``. Raises what ``fetch`` does."""
        key = item.uri, identity
        with self._lock:
            copy = self._copies.get(key) or _Copy(Path(tempfile.mkdtemp(dir=self._folder)))
            copy.users += 1
            self._copies[key] = copy
            self._copies.move_to_end(key)
            self._forget()
        try:
            with copy.fetching:
                if copy.path is None:
                    copy.path = self._fetch(item, copy.folder)
                return copy.path
        except BaseException:
            self.release(item, identity)
            raise

    def release(self, item: Item, identity: str) -> None:
        """One reader less."""
        with self._lock:
            self._copies[item.uri, identity].users -= 1
            self._forget()

    def _forget(self) -> None:
        for key, copy in list(self._copies.items()):
            others = any(uri == key[0] for uri, identity in self._copies if (uri, identity) != key)
            if not copy.users and (copy.path is None or others or len(self._copies) > KEPT):
                del self._copies[key]
                shutil.rmtree(copy.folder, ignore_errors=True)
