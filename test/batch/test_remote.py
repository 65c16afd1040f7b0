"""Stores on other machines: read and written whole, also where the line breaks, and no secret is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from depth_retrofit_ros.batch import remote as remotes
from depth_retrofit_ros.batch.inputs import Item, fetched, find_items, identity
from depth_retrofit_ros.batch.place import Place
from depth_retrofit_ros.batch.remote import Remote
from depth_retrofit_ros.batch.uris import Uri, parse
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.errors import ImageError, OutputError, SetupError, StorageError
from test.batch.sftp_server import Line, known_hosts, line_to, sftp_server, sshd, user
from test.batch.test_run import MODEL, engines, inputs, report

__all__ = ["engines", "inputs"]  # fixtures


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotes, "PAUSES_S", (0.0, 0.0))


class Failing:
    """A file system of which each call fails, and tells the password."""

    calls = 0

    def get_file(self, *names: str) -> None:
        Failing.calls += 1
        raise OSError("sftp://somebody:secret@server: no answer to secret")


def test_a_store_that_never_answers_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remotes, "require", lambda scheme: None)
    monkeypatch.setattr(Remote, "_connected", lambda self: Failing())
    with pytest.raises(StorageError) as caught:
        Remote(parse("sftp://somebody:secret@server/x")).fetch("/x", tmp_path / "x")
    assert Failing.calls == 3 and "secret" not in str(caught.value)
    assert str(caught.value).startswith("cannot read sftp://server/x (sftp://server: no answer to ***): check")


def test_a_store_without_its_packages_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotes, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"sftp:// needs fsspec and paramiko: pip install 'depth_retrofit_ros\[sftp\]'"):
        find_items(["sftp://server/x"], Uri("file", "/out"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    if find_spec("paramiko") is None:
        pytest.skip("paramiko is not installed")
    if (program := sshd()) is None:
        pytest.skip("no sshd of OpenSSH")
    folder: Path = tmp_path_factory.mktemp("sftp")
    with sftp_server(folder, program) as port:
        yield folder, port


@pytest.fixture
def line(server: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    import paramiko

    folder, port = server
    connect = paramiko.SSHClient.connect

    def with_key(self: Any, *given: Any, **options: Any) -> Any:
        return connect(self, *given, **options, key_filename=str(folder / "user"), allow_agent=False, look_for_keys=False)

    monkeypatch.setattr(paramiko.SSHClient, "connect", with_key)
    with line_to(port) as line:
        monkeypatch.setenv("DEPTH_RETROFIT_KNOWN_HOSTS", str(known_hosts(folder, line.port)))
        yield line


def address(line: Line, path: Path) -> str:
    return f"sftp://{user()}:secret@127.0.0.1:{line.port}{path}"


def test_reads_and_writes_by_sftp(line: Line, tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    for name in ("metadata.yaml", "bag_0.mcap"):
        (folder / name).write_bytes(b"x" * 100_000)
    (tmp_path / "a.png").write_bytes(b"y")
    items = find_items([address(line, tmp_path)], Uri("file", "/out")).items
    assert [(item.kind, item.uri.name) for item in items] == [("bag", "bag"), ("image", "a.png")]
    here = tmp_path / "here"
    here.mkdir()
    assert (fetched(items[0], here) / "bag_0.mcap").read_bytes() == b"x" * 100_000
    before = identity(items[1])
    (tmp_path / "a.png").write_bytes(b"yy")
    assert identity(items[1]) != before
    with pytest.raises(ImageError, match=r"cannot read sftp://127.0.0.1:\d+/.*missing.png"):
        fetched(Item(items[1].uri.at(f"{tmp_path}/missing.png"), "image"), here)
    with Place(parse(address(line, tmp_path / "out"))) as place:
        written = place.publish_text("one\n", "items/a.json")
        place.publish_text("two\n", "items/a.json")
        assert place.read("items/a.json") == "two\n" and place.read("items/b.json") is None
        assert place.sizes("items") == {"items/a.json": written.size} and place.sizes("depth") == {}
        place.remove("items/a.json")
        place.remove("items/a.json")
    assert list((tmp_path / "out" / "items").iterdir()) == []


def test_a_line_that_is_cut_costs_another_try(line: Line, tmp_path: Path) -> None:
    remote = Remote(parse(address(line, tmp_path / "large")))
    (tmp_path / "large").write_bytes(bytes(range(256)) * 4000)
    line.cuts = [100_000, 300_000]
    remote._drop()
    remote.fetch(str(tmp_path / "large"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes() and line.connections == 3
    line.cuts = [100_000]
    remote._drop()
    remote.put(tmp_path / "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes() and line.connections == 5
    line.cuts = [50_000] * 3
    remote._drop()
    with pytest.raises(StorageError, match=r"cannot write sftp://127\.0\.0\.1"):
        remote.put(tmp_path / "large", str(tmp_path / "never"))
    assert not (tmp_path / "never").exists()
    with Place(parse(address(line, tmp_path / "out"))) as place:
        line.cuts = [50_000] * 3
        (place.staging / "x").write_bytes(bytes(200_000))
        remote._drop()
        with pytest.raises(OutputError, match="--resume goes on from there"):
            place.publish(place.staging / "x", "depth/x")


def test_a_host_that_nobody_vouches_for_is_refused(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPTH_RETROFIT_KNOWN_HOSTS")
    remote = Remote(parse(address(line, tmp_path)))
    remote._drop()
    with pytest.raises(StorageError, match="not found in known_hosts"):
        remote.files(str(tmp_path))


def test_a_batch_from_a_server_to_it(line: Line, inputs: Path, tmp_path: Path, engines: list[Any]) -> None:
    arguments = ["batch", address(line, inputs), "--out", address(line, tmp_path / "out"), *MODEL]
    line.cuts = [200_000]
    assert cli.main(arguments) == 1  # one input is no image
    told = report(tmp_path / "out")
    assert (told["done"], told["failed"], told["frames"]["answered"]) == (4, 1, 10) and line.connections >= 2
    assert cli.main([*arguments, "--resume"]) == 1
    assert report(tmp_path / "out")["skipped"] == 4
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*.json*")]
    assert len(texts) > 6 and not any("secret" in text for text in texts)
    assert json.loads((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[0])["input"].startswith("sftp://127.0.0.1:")
    (tmp_path / "local").mkdir()
    assert cli.main(["batch", str(inputs / "photo0.png"), "--out", str(tmp_path / "local" / "out"), *MODEL]) == 0
    (one,) = (tmp_path / "local" / "out" / "depth").iterdir()
    (other,) = (tmp_path / "out" / "depth").glob("photo0-*")
    assert one.read_bytes() == other.read_bytes()
