"""Remote inputs on this machine: fetched once however many read them, and kept while somebody does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from depth_retrofit_ros.batch.copies import KEPT, Copies
from depth_retrofit_ros.batch.inputs import Item
from depth_retrofit_ros.batch.uris import parse
from depth_retrofit_ros.errors import StorageError

A, *OTHERS = (Item(parse(f"sftp://server/{name}.mcap"), "bag") for name in "abcdef")


class Store:
    """What is fetched from it, in order."""

    def __init__(self) -> None:
        self.fetched: list[Item] = []

    def __call__(self, item: Item, folder: Path) -> Path:
        self.fetched.append(item)
        (folder / item.uri.name).write_bytes(b"x")
        return folder / item.uri.name


def test_two_that_ask_at_once_have_one_copy(tmp_path: Path) -> None:
    store, begin = Store(), Barrier(2)
    copies = Copies(tmp_path, store)

    def hold(_: int) -> Path:
        begin.wait()
        return copies.hold(A, "now")

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(hold, range(2))
    assert one == other and store.fetched == [A]


def test_what_somebody_reads_stays_and_the_oldest_of_the_rest_goes(tmp_path: Path) -> None:
    store = Store()
    copies = Copies(tmp_path, store)
    read = copies.hold(A, "now")
    paths = []
    for item in OTHERS:
        paths.append(copies.hold(item, "now"))
        copies.release(item, "now")
    assert read.exists() and [path.exists() for path in paths] == [False, False, False, True, True]
    assert len(list(tmp_path.iterdir())) == KEPT
    copies.hold(A, "later")
    assert read.exists(), "of what it was before, too, while somebody reads it"
    copies.release(A, "now")
    assert not read.exists() and store.fetched.count(A) == 2


def test_one_that_cannot_be_fetched_leaves_nothing(tmp_path: Path) -> None:
    def broken(item: Item, folder: Path) -> Path:
        (folder / "half").write_bytes(b"x")
        raise StorageError("it broke off")

    with pytest.raises(StorageError):
        Copies(tmp_path, broken).hold(A, "now")
    assert not list(tmp_path.iterdir())
