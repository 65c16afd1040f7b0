"""What is to be done: images, videos and bags, from files, folders and patterns, each known by its address."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from depth_retrofit_ros.batch.remote import Remote
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
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Item:
    """One input. is_folder: of a bag. Its name is that of its results: the same in every run, whatever else is given."""

    uri: Uri
    kind: Kind
    is_folder: bool = False

    @property
    def name(self) -> str:
        """Of the file, and of its whole address a digest that tells it from others of that name."""
        stem = _ODD.sub("_", re.sub(r"\.(?:mcap|db3)\.zstd?$|\.[^.]+$", "", self.uri.name))[:_LONGEST_NAME]
        return f"{stem or 'input'}-{hashlib.sha256(os.fsencode(str(self.uri))).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class Found:
    """items: each once, in the order in which they were given; passed_over: files in folders that are none of these."""

    items: list[Item]
    passed_over: int


def find_items(given: Iterable[str], out: Uri) -> Found:
    """out: the folder of the results, in which nothing is looked for. Raises UsageError, SetupError, StorageError."""
    items: dict[str, Item] = {}
    passed_over = 0
    for text in given:
        uri = parse(text)
        for item in _of_store(uri) if uri.local is None else _of_disk(text, uri, out.local):
            if item is None:
                passed_over += 1
            else:
                items.setdefault(str(item.uri), item)
    if not items:
        raise UsageError("none of the inputs is an image, a video or a bag: give files, folders that hold some, or patterns")
    return Found(list(items.values()), passed_over)


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
        found = {path: remote.call(f"look at {item.uri}", lambda filesystem: dict(filesystem.info(path)))}
    for name, info in sorted(found.items()):
        changed = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified") if info.get(key)), "")
        yield [name.rpartition("/")[2], info.get("size"), changed]


def _of_disk(text: str, uri: Uri, out: Path | None) -> Iterator[Item | None]:
    path = Path(uri.path)
    if path.is_dir():
        yield from _of_folder(path, out)
    elif not path.exists() and _PATTERN.search(text):
        matches = sorted(glob.glob(uri.path, recursive=True))
        if not matches:
            raise UsageError(f"{text} matches no file: check the pattern")
        for match in matches:
            if Path(match).is_dir():
                yield from _of_folder(Path(match), out)
            elif (kind := kind_of(match)) == "unknown":
                yield None
            else:
                yield Item(Uri("file", match), kind)
    else:
        yield Item(uri, kind_of(uri.name))  # named by the user: what is wrong with it is told when its turn comes


def _of_folder(path: Path, out: Path | None) -> Iterator[Item | None]:
    """A bag, or what is in it and below it."""
    for below, folders, names in os.walk(path, onerror=_refused):
        here = Path(below)
        if out is not None and here == out:
            folders.clear()
            continue
        folders.sort()
        if _METADATA in names:
            folders.clear()
            yield Item(Uri("file", below), "bag", True)
            continue
        for name in sorted(names):
            kind = kind_of(name)
            yield None if kind == "unknown" else Item(Uri("file", str(here / name)), kind)


def _refused(error: OSError) -> None:
    raise UsageError(f"cannot look into {error.filename} ({error.strerror}): check its permissions, or leave it out")


def _of_store(uri: Uri) -> Iterator[Item | None]:
    remote, path = Remote(uri), uri.path.rstrip("/")
    base = path
    if _PATTERN.search(path):
        base = path[: next(iter(_PATTERN.finditer(path))).start()].rpartition("/")[0]

    def is_file(filesystem: Any) -> bool:
        return bool(filesystem.isfile(path))

    if base == path and remote.call(f"look at {uri}", is_file):
        yield Item(uri.at(path), kind_of(path))
        return
    found = remote.files(base)
    if base == path and not found:
        yield Item(uri.at(path), kind_of(path))  # told when its turn comes
        return
    names = sorted(name for name in found if base == path or fnmatch.fnmatchcase(name, path))
    if not names:
        raise UsageError(f"{uri} matches no file: check the pattern")
    bags = sorted({name.rpartition("/")[0] for name in names if name.endswith(f"/{_METADATA}")})
    yield from (Item(uri.at(bag), "bag", True) for bag in bags)
    for name in names:
        if any(name.startswith(f"{bag}/") for bag in bags):
            continue
        kind = kind_of(name)
        yield None if kind == "unknown" else Item(uri.at(name), kind)


def fetched(item: Item, folder: Path) -> Path:
    """The input as files of this machine, below ``folder`` where it is remote. Raises ImageError, StorageError."""
    if (local := item.uri.local) is not None:
        return local
    remote, target = Remote(item.uri), folder / item.uri.name
    try:
        if not item.is_folder:
            remote.fetch(item.uri.path, target)
            return target
        target.mkdir()
        for path in sorted(remote.files(item.uri.path)):
            remote.fetch(path, target / path.rpartition("/")[2])
    except (FileNotFoundError, PermissionError) as error:
        raise ImageError(f"cannot read {item.uri} ({error.strerror or type(error).__name__}): give a file that is there") from None
    except OSError as error:
        raise StorageError(
            f"no room to fetch {item.uri} into {folder} ({error.strerror}): set TMPDIR to a folder with more"
        ) from None
    return target
