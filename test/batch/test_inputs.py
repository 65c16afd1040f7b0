"""Addresses without their secrets, and what is found in folders, by patterns and in stores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from depth_retrofit_ros.batch.inputs import Item, find_items, identity, kind_of
from depth_retrofit_ros.batch.uris import Uri, parse, without_user
from depth_retrofit_ros.errors import ImageError, UsageError

SECRET = "sftp://somebody:p%40ss@server:2222/bags/a.mcap"
OUT = Uri("file", "/nowhere")


def test_an_address_is_known_without_its_secrets() -> None:
    uri = parse(SECRET)
    assert (uri.scheme, uri.host, uri.port, uri.user, uri.password) == ("sftp", "server", 2222, "somebody", "p@ss")
    assert str(uri) == "sftp://server:2222/bags/a.mcap" and "p@ss" not in repr(uri)
    assert without_user(f"cannot read {SECRET}\nfor p@ss", uri) == "cannot read sftp://server:2222/bags/a.mcap for ***"
    assert parse("sftp://server/a[0-9]?.jpg#1").path == "/a[0-9]?.jpg#1"
    assert str(parse("s3://key:secret@bucket/x/")) == "s3://bucket/x"
    assert parse("file:///a%20b").local == Path("/a b")
    assert Item(uri, "bag").name == Item(parse("sftp://other@server:2222/bags/a.mcap"), "bag").name


@pytest.mark.parametrize("text", ["http://u:secret@h/x", "sftp://u:secret@", "sftp://u:secret@h:port/x", "s3://"])
def test_what_is_no_address_is_told_without_secrets(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "secret" not in str(caught.value) and "give" in str(caught.value)


def test_kinds_by_name() -> None:
    names = ("a.JPG", "a.mp4", "a.mcap", "a.db3.zstd", "a.txt", "a")
    assert [kind_of(name) for name in names] == ["image", "video", "bag", "bag", "unknown", "unknown"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.png", "note.txt", "sub/c.mkv", "sub/drive/metadata.yaml", "sub/drive/drive_0.mcap", "out/depth/x.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return tmp_path


def test_a_folder_is_looked_through_and_a_bag_is_one_input(folder: Path) -> None:
    found = find_items([str(folder), str(folder / "a.png")], Uri("file", str(folder / "out")))
    told = [(item.kind, Path(item.uri.path).relative_to(folder).as_posix()) for item in found.items]
    assert told == [("image", "a.png"), ("image", "b.jpg"), ("video", "sub/c.mkv"), ("bag", "sub/drive")]
    assert found.passed_over == 1
    assert len({item.name for item in found.items}) == 4


def test_patterns(folder: Path) -> None:
    assert [item.uri.name for item in find_items([str(folder / "*.[pj]*g")], OUT).items] == ["a.png", "b.jpg"]
    assert len(find_items([str(folder / "**" / "*.mcap")], OUT).items) == 1
    with pytest.raises(UsageError, match="matches no file"):
        find_items([str(folder / "*.avif")], OUT)
    with pytest.raises(UsageError, match="none of the inputs is"):
        find_items([str(folder / "*.txt")], OUT)


def test_one_that_is_not_there_is_told_when_its_turn_comes(folder: Path) -> None:
    (item,) = find_items([str(folder / "missing.jpg")], OUT).items
    with pytest.raises(ImageError, match="No such file"):
        identity(item)


def test_an_input_that_changes_is_another(folder: Path) -> None:
    items = Item(Uri("file", str(folder / "a.png")), "image"), Item(Uri("file", str(folder / "sub" / "drive")), "bag", True)
    before = [identity(item) for item in items]
    assert before == [identity(item) for item in items]
    os.utime(folder / "a.png", ns=(1, 1))
    (folder / "sub" / "drive" / "drive_0.mcap").write_bytes(b"xy")
    assert all(identity(item) != old for item, old in zip(items, before, strict=True))
