"""What is to be done: images, videos and bags, from files, folders and patterns, each known by its address."""

from __future__ import annotations

import errno
import fnmatch
import glob
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from depth_retrofit_ros.batch.remote import ROOM, Remote
from depth_retrofit_ros.batch.uris import Uri, parse
from depth_retrofit_ros.errors import ImageError, StorageError, UsageError

Kind = Literal["image", "video", "bag", "unknown"]

_KINDS: dict[Kind, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".avif"),
    "video": (".mp4", ".mov", ".mkv", ".webm", ".avi"),
    "bag": (".mcap", ".db3", ".mcap.zstd", ".mcap.zst", ".db3.zstd", ".db3.zst"),
}
_METADATA = "metadata.yaml"
_PATTERN = re.compile(r"[*?\[]")
_ODD = re.compile(r"[^\w.-]+")
_LONGEST_STEM = 80  # bytes; file systems end at 255 or, encrypted, at 143, endings included
_RESULTS = ("depth", "items", ".staging")  # folders in the place of the results


@dataclass(frozen=True, slots=True)
class Item:
    """One input. is_folder: of a bag. Its name is that of its results: the same in every run, whatever else is given."""

    uri: Uri
    kind: Kind
    is_folder: bool = False

    @property
    def name(self) -> str:
        """Of the file, and of its whole address a digest that tells it from others of that name."""
        whole = _ODD.sub("_", re.sub(r"\.(?:mcap|db3)\.zstd?$|\.[^.]+$", "", self.uri.name))
        stem = whole.encode()[:_LONGEST_STEM].decode(errors="ignore")
        return f"{stem or 'input'}-{hashlib.sha256(os.fsencode(self.uri.key)).hexdigest()[:10]}"

    @property
    def folder(self) -> Uri:
        """In which it lies."""
        return self.uri.at(self.uri.path.rstrip("/").rpartition("/")[0] or "/")


@dataclass(frozen=True, slots=True)
class Found:
    """items: each once, in the order in which they were given; passed_over: files in folders that are none of these."""

    items: list[Item]
    passed_over: int


def find_items(given: Iterable[str], out: Uri) -> Found:
    """out: the folder of the results, in which nothing is looked for; where it holds the inputs, too, in its folders ``depth`` and
    ``items``. Raises UsageError, SetupError, StorageError."""
    items: dict[str, Item] = {}
    names: dict[str, Item] = {}
    others: set[str] = set()
    for text in given:
        uri = parse(text)
        results = _Results(out, uri)
        if results.hold(uri):
            raise UsageError(f"{uri} is among the results in {out}: choose another --out, or leave it out")
        for item, is_named in _of_store(uri) if uri.local is None else _of_disk(uri, results):
            if not is_named and results.hold(item.folder):
                continue
            if item.kind == "unknown" and not is_named:
                others.add(item.uri.key)
            elif item.uri.key not in items:
                if (other := names.setdefault(item.name, item)) is not item:
                    raise UsageError(f"{item.uri} and {other.uri} would have one name, {item.name}: rename one of them")
                items[item.uri.key] = item
    if not items:
        raise UsageError("none of the inputs is an image, a video or a bag: give files, folders that hold some, or patterns")
    return Found(list(items.values()), len(others - items.keys()))


class _Results:
    """The folders in which nothing is looked for when ``given`` is, by whatever way one gets there."""

    def __init__(self, out: Uri, given: Uri) -> None:
        self._known: dict[str, bool] = {}
        self._store = _store(out)
        root = _real(out)
        self._folders = [root]
        if self._holds(given):
            self._folders = [f"{root.rstrip('/')}/{name}" for name in _RESULTS]

    def hold(self, folder: Uri) -> bool:
        """Whether it is one of them, or lies in one."""
        if folder.key not in self._known:
            self._known[folder.key] = self._holds(folder)
        return self._known[folder.key]

    def _holds(self, uri: Uri) -> bool:
        path = _real(uri)
        return _store(uri) == self._store and any(f"{path}/".startswith(f"{folder.rstrip('/')}/") for folder in self._folders)


def _store(uri: Uri) -> tuple[object, ...]:
    return uri.scheme, uri.host, uri.port or 22


def _real(uri: Uri) -> str:
    return uri.path if uri.local is None else os.path.realpath(uri.path)


def kind_of(name: str) -> Kind:
    """By the end of its name."""
    low = name.lower()
    return next((kind for kind, suffixes in _KINDS.items() if low.endswith(suffixes)), "unknown")


def identity(item: Item) -> str:
    """Changes when the input does: a digest of size and time of each of its files, or of what the store says of them.

    Raises ImageError where it is not there, StorageError where the store does not answer.
    """
    try:
        told = list(_told_by_disk(item) if item.uri.local is not None else _told_by_store(item))
    except OSError as error:
        raise ImageError(f"cannot read {item.uri} ({error.strerror or type(error).__name__}): give a file that is there") from None
    if not told:
        raise ImageError(f"cannot read {item.uri} (it is empty): give a file that is there")
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _told_by_disk(item: Item) -> Iterator[list[Any]]:
    path = item.uri.local
    assert path is not None
    files = sorted(file for file in path.iterdir() if file.is_file()) if item.is_folder else [path]
    for file in files:
        status = file.stat()
        yield [os.fsencode(file.name).hex(), status.st_size, status.st_mtime_ns]


def _told_by_store(item: Item) -> Iterator[list[Any]]:
    remote, path = Remote(item.uri), item.uri.path
    if item.is_folder:
        found = remote.files(path)
    else:
        if (info := remote.info(path)) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        found = {path: info}
    for name, info in sorted(found.items()):
        changed = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified") if info.get(key)), "")
        yield [name.rpartition("/")[2], info.get("size"), changed]


_Finding: TypeAlias = "Iterator[tuple[Item, bool]]"
"""Of whatever kind; and whether the user named it: what is wrong with such a one is told when its turn comes."""


def _of_disk(uri: Uri, results: _Results) -> _Finding:
    if os.path.isdir(uri.path):
        yield from _of_folder(Path(uri.path), results)
    elif not os.path.lexists(uri.path) and _PATTERN.search(uri.path):
        matches = sorted(glob.glob(uri.path, recursive=True))
        if not matches:
            raise UsageError(f"{uri} matches no file: check the pattern")
        for match in matches:
            if os.path.isdir(match):
                yield from _of_folder(Path(match), results)
            else:
                yield _matched(Uri("file", match), lambda file: os.path.exists(file.path)), False
    else:
        yield Item(uri, kind_of(uri.name)), True


def _of_folder(path: Path, results: _Results) -> _Finding:
    """A bag, or what is in it and below it."""
    for below, folders, names in os.walk(path, onerror=_refused):
        here = Path(below)
        if results.hold(Uri("file", below)):
            folders.clear()
            continue
        folders.sort()
        if _METADATA in names:
            folders.clear()
            yield Item(Uri("file", below), "bag", True), False
            continue
        for name in sorted(names):
            yield Item(Uri("file", str(here / name)), kind_of(name)), False


def _refused(error: OSError) -> NoReturn:
    raise UsageError(f"cannot look into {error.filename} ({error.strerror}): check its permissions, or leave it out")


def _matched(uri: Uri, is_there: Callable[[Uri], bool]) -> Item:
    """What a pattern found: a file of a bag stands for the whole bag."""
    item = Item(uri, kind_of(uri.name))
    folder = item.folder
    is_part = (item.kind == "bag" or uri.name == _METADATA) and is_there(folder.at(f"{folder.path.rstrip('/')}/{_METADATA}"))
    return Item(folder, "bag", True) if is_part else item


def _of_store(uri: Uri) -> _Finding:
    remote = Remote(uri)
    try:
        info = remote.info(uri.path)
        if info is not None and info["type"] == "directory":
            yield from _of_remote_folder(remote, uri)
        elif info is None and _PATTERN.search(uri.path):
            yield from _of_pattern(remote, uri)
        else:
            yield Item(uri, kind_of(uri.name)), True
    except PermissionError as error:
        _refused(PermissionError(error.errno, error.strerror or "Permission denied", error.filename or str(uri)))


def _of_remote_folder(remote: Remote, uri: Uri) -> _Finding:
    files = sorted(remote.files(uri.path))
    bags = {name.rpartition("/")[0] for name in files if name.rpartition("/")[2] == _METADATA}
    yield from ((Item(uri.at(bag), "bag", True), False) for bag in sorted(bags) if not _is_below(bag, bags))
    for name in files:
        if not _is_below(name, bags):
            yield Item(uri.at(name), kind_of(name)), False


def _is_below(path: str, folders: Set[str]) -> bool:
    while path := path.rpartition("/")[0]:
        if path in folders:
            return True
    return False


def _of_pattern(remote: Remote, uri: Uri) -> _Finding:
    begin, *parts = uri.path.split("/")  # nothing, or a bucket
    found = False
    there: dict[str, bool] = {}

    def is_there(file: Uri) -> bool:
        if file.path not in there:
            there[file.path] = remote.info(file.path) is not None
        return there[file.path]

    for path, is_folder in _matches(remote, begin, parts):
        found = True
        if is_folder:
            yield from _of_remote_folder(remote, uri.at(path or "/"))
        else:
            yield _matched(uri.at(path), is_there), False
    if not found:
        raise UsageError(f"{uri} matches no file: check the pattern")


def _matches(remote: Remote, folder: str, parts: list[str]) -> Iterator[tuple[str, bool]]:
    """Paths of a store, and whether each is a folder, by the rules of ``glob``: ``*`` stays within one name, ``**`` goes down
    through any number of folders, and neither finds a name that begins with a dot."""
    part, *rest = parts
    if not _PATTERN.search(part):
        path = f"{folder}/{part}"
        if rest:
            yield from _matches(remote, path, rest)
        elif (info := remote.info(path)) is not None:
            yield path, info["type"] == "directory"
        return
    goes_down = part == "**"
    if goes_down and not rest:
        yield folder, True
        return
    if goes_down:
        yield from _matches(remote, folder, rest)
    for path, info in sorted(remote.entries(folder or "/").items()):
        name = path.rpartition("/")[2]
        if (name.startswith(".") and not part.startswith(".")) or not (goes_down or fnmatch.fnmatchcase(name, part)):
            continue
        is_folder = info["type"] == "directory"
        if info["type"] == "link" and not goes_down:
            is_folder = (remote.info(path) or {}).get("type") == "directory"
        if rest and is_folder:
            yield from _matches(remote, path, parts if goes_down else rest)
        elif not rest:
            yield path, is_folder


def fetched(item: Item, folder: Path) -> Path:
    """The input as files of this machine, below ``folder`` where it is remote. Raises ImageError, StorageError."""
    if (local := item.uri.local) is not None:
        return local
    remote, target = Remote(item.uri), folder / item.uri.name
    if item.is_folder:
        try:
            target.mkdir()
        except OSError as error:
            raise StorageError(f"cannot write {item.uri} into {folder} ({error.strerror}): {ROOM}") from None
    try:
        if not item.is_folder:
            remote.fetch(item.uri.path, target)
        else:
            for path in sorted(remote.files(item.uri.path)):
                remote.fetch(path, target / path.rpartition("/")[2])
    except (FileNotFoundError, PermissionError) as error:
        raise ImageError(f"cannot read {item.uri} ({error.strerror or type(error).__name__}): give a file that is there") from None
    return target
