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
    assert "p%40ss" not in without_user(f"no answer to {SECRET.partition('//')[2]}", uri)
    assert (at := parse("sftp://u:p@ss@server/x")).password == "p@ss" and str(at) == "sftp://server/x"
    assert without_user("no answer of sftp://u:p@ss@server/x") == "no answer of sftp://server/x"


def test_letters_of_a_path_are_those_of_its_name() -> None:
    for path in ("/a?b/c#d.jpg", "/image_00[0-2]?.jpg", "/100%20.png", "/x@y"):
        for begin in ("sftp://server", "sftp://user@server", "file://", "file://localhost"):
            assert parse(f"{begin}{path}").path == path
        assert str(parse(f"s3://bucket{path}")) == f"s3://bucket{path}"
    assert (six := parse("sftp://[::1]:22/x")).host == "::1" and str(six) == "sftp://[::1]:22/x"
    assert parse(str(six)) == six


def test_one_file_has_one_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "below")
    whole = parse(str(tmp_path / "a.jpg"))
    monkeypatch.chdir(tmp_path / "folder")
    assert parse("../a.jpg") == parse(f"{tmp_path}//folder/.././a.jpg") == parse(f"file://{tmp_path}/./a.jpg") == whole
    assert parse("../link/../a.jpg") == parse(str(tmp_path / "elsewhere" / "a.jpg")), "as the file system goes"
    assert parse("sftp://SERVER//x/../a.jpg") == parse("sftp://server/./a.jpg")
    names = {Item(parse(f"sftp://{user}server/a.jpg"), "image").name for user in ("", "alice@", "bob@", "bob:secret@")}
    assert len(names) == 3, "whose folders need not be the same; the password tells nothing"
    assert not any("alice" in name or "bob" in name for name in names)


def test_a_name_commands_no_terminal() -> None:
    uri = parse("/folder/a\x1b[2J\nb\udcff 深度.jpg")
    assert str(uri) == r"/folder/a\x1b[2J\nb\udcff 深度.jpg" and uri.name == "a\x1b[2J\nb\udcff 深度.jpg"
    assert without_user("cannot\n read \x1b[2J") == r"cannot read \x1b[2J"


def test_a_long_name_leaves_room_for_endings(tmp_path: Path) -> None:
    for letter in ("x", "é", "深", "𠮷"):
        name = Item(Uri("file", f"/{letter * (240 // len(letter.encode()))}.jpg"), "image").name
        assert len(f"{name}_confidence.png.01234567.half".encode()) <= 143
        (tmp_path / f"{name}_confidence.png").touch()


@pytest.mark.parametrize(
    "text",
    [
        "http://u:secret@h/x",
        "sftp://u:secret@",
        "sftp://u:secret@h:port/x",
        "sftp://u:p/secret@h/x",
        "sftp://u:secret/ss@h/x",
        "sftp://h:70000/x",
        "s3://",
        "s3://key:secret/s@bucket/x",
        "file://u:secret@h/x",
    ],
)
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


def found(out: Path, *given: str | Path) -> list[str]:
    return [item.uri.name for item in find_items(map(str, given), parse(str(out))).items]


def test_results_are_no_inputs_whichever_way_one_gets_there(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, all_of_it = folder / "out", ["a.png", "b.jpg", "c.mkv", "drive"]
    assert sorted(found(out, folder / "**" / "*")) == sorted(found(out, folder / "*", folder / "**")) == all_of_it
    assert find_items([str(folder / "**" / "*")], parse(str(out))).passed_over == 1
    (folder / "way").symlink_to(folder)
    assert sorted(found(folder / "way" / "out", folder)) == sorted(found(out, folder / "way")) == all_of_it
    monkeypatch.chdir(folder / "sub")
    assert found(Path("../out"), "../*.*g", "../out/../sub/../out/../a.png") == ["a.png", "b.jpg"]
    with pytest.raises(UsageError, match="is among the results in"):
        found(folder / "out", folder / "out" / "depth" / "x.png")
    (folder / "depth").mkdir()
    (folder / "depth" / "y.png").touch()
    assert "y.png" not in found(folder, folder) and "a.png" in found(folder, folder), "results beside the inputs"


def test_a_file_of_a_bag_found_by_a_pattern_is_the_bag(folder: Path) -> None:
    (folder / "sub" / "drive" / "drive_1.mcap").touch()
    (folder / "alone.mcap").touch()
    assert found(folder / "out", folder / "**" / "*.mcap") == ["alone.mcap", "drive"]
    assert found(folder / "out", folder / "sub" / "drive" / "drive_1.mcap") == ["drive_1.mcap"], "as the user named it"


def test_two_inputs_of_one_name_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Item, "name", "one")
    with pytest.raises(UsageError, match=r"a\.png and .*b\.jpg would have one name|b\.jpg and .*a\.png would have one name"):
        find_items([str(folder)], OUT)


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
