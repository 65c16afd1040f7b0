"""Which files a path means, and what each of them is: told by its first bytes rather than by its name or by metadata.yaml."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from functools import cache
from pathlib import Path

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data import mcap, sqlite
from depth_retrofit_ros.evaluation.data.compression import ZSTD_MAGIC, expand_file
from depth_retrofit_ros.evaluation.data.storage import StorageFile

METADATA = "metadata.yaml"
_STORAGE = re.compile(r"\.(mcap|db3)(\.zstd?)?$")
_PACKED = re.compile(r"\.zstd?$")
_LISTED = re.compile(r"^[ \t]*relative_file_paths:[ \t]*\n((?:[ \t]*-[^\n]*(?:\n|$))*)", re.MULTILINE)
_ROS_1 = b"#ROSBAG"


def find_files(path: Path) -> tuple[list[Path], list[str]]:
    """The files of the bag at ``path``, in order, and what is worth a word. Raises BagError where there are none.

    Of metadata.yaml only the list of files is used: what it says of their content is for the content to say.
    """
    if not path.exists():
        raise BagError(f"no bag at {path}: give a rosbag2 folder, an .mcap or a .db3 file")
    if path.name == METADATA:
        path = path.parent
    if not path.is_dir():
        return [path], []
    there = sorted((file for file in path.iterdir() if _STORAGE.search(file.name)), key=_natural)
    listed = _listed(path / METADATA)
    found = {name: file for name in listed if (file := _present(path / name)) is not None}
    missing = [name for name in listed if name not in found]
    if not found:
        if not there:
            raise BagError(_nothing_in(path, missing))
        return there, [f"{path.name} has no {METADATA} that fits: all {len(there)} of its files are read"] if listed else []
    told = [f"{path.name}: {', '.join(missing)} of {METADATA} is missing, the others are read"] if missing else []
    if extra := [file.name for file in there if file not in found.values()]:
        told.append(f"{path.name}: {', '.join(extra)} is not in {METADATA} and not read: give it by its name, or remove {METADATA}")
    return list(found.values()), told


def open_file(path: Path) -> tuple[StorageFile, list[str]]:
    """The file, open, and what is worth a word. Raises BagError, one line."""
    told: list[str] = []
    try:
        plain, problem = _plain(path, path.stat().st_size, path.stat().st_mtime_ns)
        if problem:
            told.append(f"{path.name} could be decompressed in part only ({problem}): copy it from its source again")
        magic = _first_bytes(plain)
        if magic.startswith(mcap.MAGIC):
            return mcap.McapFile(plain), told
        if magic.startswith(sqlite.MAGIC):
            return sqlite.SqliteFile(plain), told
    except OSError as error:
        raise BagError(f"cannot read the bag {path} ({error.strerror or error}): check its permissions and the disk") from error
    if magic.startswith(_ROS_1):
        source, target = shlex.quote(str(path)), shlex.quote(str(path.with_suffix("")))
        raise BagError(f"{path} is a ROS 1 bag; convert it with: rosbags-convert --src {source} --dst {target}")
    what = "it is empty" if not magic else "it begins neither as MCAP nor as SQLite"
    raise BagError(f"cannot read the bag {path}: {what}; give a rosbag2 folder, an .mcap or a .db3 file, or copy it again")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _listed(metadata: Path) -> list[str]:
    """The names in ``relative_file_paths``, however broken the rest may be; older versions have the folder in front of them."""
    try:
        text = metadata.read_text(errors="replace")
    except OSError:
        return []
    match = _LISTED.search(text)
    names = [line.strip().removeprefix("-").strip().strip("'\"") for line in match[1].splitlines()] if match else []
    return [Path(name).name for name in names if name]


def _present(file: Path) -> Path | None:
    """The file or, where it was packed or unpacked since, its twin."""
    twins = (
        file,
        file.with_name(_PACKED.sub("", file.name)),
        file.with_name(f"{file.name}.zstd"),
        file.with_name(f"{file.name}.zst"),
    )
    return next((twin for twin in twins if twin.is_file()), None)


def _natural(file: Path) -> list[tuple[int, str]]:
    """``bag_10`` after ``bag_9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _nothing_in(path: Path, missing: list[str]) -> str:
    if missing:
        return f"{path} has none of the files of its {METADATA} ({', '.join(missing)}): copy them there, or give a file"
    if ros_1 := sorted(path.glob("*.bag")):
        return f"{path} holds no rosbag2 but {ros_1[0].name}, a ROS 1 bag: give that file to learn how to convert it"
    return f"{path} holds no .mcap or .db3 file: give a rosbag2 folder, or the file itself"


def _rest_of_page(path: Path, size: int) -> int:
    """How many bytes of a page that is not whole an SQLite file ends with."""
    return size % sqlite.page_size(path) if size > 100 and _first_bytes(path) == sqlite.MAGIC else 0


_folders: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@cache
def _plain(path: Path, size: int, mtime_ns: int) -> tuple[Path, str | None]:
    """The file as it can be read in place, and what is wrong with it; once per process for each size and time that it had.

    A file that is compressed as a whole is decompressed. An SQLite file whose recorder left a journal is copied with that: SQLite
    writes while it reads such a file, and a recording is never written to. One that ends within a page is copied without
    that: SQLite takes what is missing of it for zeros.
    """
    packed = _first_bytes(path).startswith(ZSTD_MAGIC)
    journals = [file for journal in sqlite.JOURNALS if (file := Path(f"{path}{journal}")).is_file() and file.stat().st_size]
    whole = size - _rest_of_page(path, size)
    if not packed and not journals and whole == size:
        return path, None
    _folders.append(tempfile.TemporaryDirectory(prefix="depth_retrofit_bag_"))
    folder = Path(_folders[-1].name)
    copy = folder / _PACKED.sub("", path.name)
    try:
        if packed:
            problem = expand_file(path, copy)
            os.truncate(copy, copy.stat().st_size - _rest_of_page(copy, copy.stat().st_size))
            return copy, problem
        for file in (path, *journals):
            shutil.copyfile(file, folder / file.name)
        os.truncate(copy, whole)
        return copy, None
    except OSError as error:
        raise BagError(
            f"no room to unpack {path} in {folder.parent} ({error.strerror}): set TMPDIR to a folder with more"
        ) from error
