"""Stores on other machines: read and written whole, also where the line breaks, and no secret is told."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
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
from depth_retrofit_ros.errors import ImageError, NoRoomError, OutputError, SetupError, StorageError, UsageError
from test.batch.sftp_server import Line, known_hosts, line_to, sftp_server, sshd, user
from test.batch.test_run import MODEL, engines, inputs, report
from test.waiting import PATIENCE_S

__all__ = ["engines", "inputs"]  # fixtures


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotes, "PAUSES_S", (0.0, 0.0))


class Disk:
    """A store that is a folder of this machine. faults: what is raised by the next calls, by their names."""

    def __init__(self, faults: dict[str, list[Exception]]) -> None:
        self._faults = faults
        self.client = self
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def _begin(self, name: str) -> None:
        assert not self.closed
        if self._faults.get(name):
            raise self._faults[name].pop(0)

    def info(self, path: str) -> dict[str, Any]:
        self._begin("info")
        status = os.stat(path)
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
        return {"name": path, "type": kind, "size": status.st_size, "mtime": status.st_mtime_ns}

    def ls(self, path: str, detail: bool) -> list[dict[str, Any]]:
        self._begin(f"ls {Path(path).name}")
        self._begin("ls")
        return [self.info(str(entry)) for entry in Path(path).iterdir()]

    def get_file(self, path: str, to: str) -> None:
        self._begin("get_file")
        shutil.copyfile(path, to)

    def cat_file(self, path: str) -> bytes:
        self._begin("cat_file")
        return Path(path).read_bytes()

    def rm_file(self, path: str) -> None:
        self._begin("rm_file")
        Path(path).unlink()

    def makedirs(self, path: str, exist_ok: bool) -> None:
        os.makedirs(path, exist_ok=exist_ok)

    def put_file(self, file: str, path: str) -> None:
        self._begin("put_file")
        shutil.copyfile(file, path)

    def mv(self, path: str, to: str) -> None:
        os.replace(path, to)


@dataclass
class Store:
    """faults: see ``Disk``; opened: its connections."""

    faults: dict[str, list[Exception]] = field(default_factory=dict)
    opened: list[Disk] = field(default_factory=list)

    def connect(self) -> Disk:
        self.opened.append(Disk(self.faults))
        return self.opened[-1]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """That of ``sftp://server``."""
    made = Store()
    monkeypatch.setattr(remotes, "require", lambda scheme: None)
    monkeypatch.setattr(Remote, "_connected", lambda remote: made.connect())
    yield made
    remotes.close_connections()


def there(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def found(folder: Path, pattern: str = "", out: str = "/out") -> list[str]:
    items = find_items([f"sftp://server{folder}{pattern}"], parse(out)).items
    return [Path(item.uri.path).relative_to(folder).as_posix() for item in items]


BROKEN = OSError("Socket is closed")
DENIED = PermissionError(errno.EACCES, "Permission denied")


def test_a_store_that_never_answers_is_one_line_without_secrets(store: Store, tmp_path: Path) -> None:
    store.faults["get_file"] = [OSError("sftp://somebody:secret@server: no answer to secret")] * 4
    with pytest.raises(StorageError) as caught:
        Remote(parse("sftp://somebody:secret@server/x")).fetch("/x", tmp_path / "x")
    assert len(store.faults["get_file"]) == 1 and "secret" not in str(caught.value)
    assert str(caught.value).startswith("cannot read sftp://server/x (sftp://server: no answer to ***): check")


def test_a_listing_that_breaks_off_is_neither_short_nor_empty(store: Store, tmp_path: Path) -> None:
    there(tmp_path, "a.png", "below/b.png", "below/deeper/c.png", "drive/metadata.yaml", "drive/drive_0.mcap")
    whole = ["drive", "a.png", "below/b.png", "below/deeper/c.png"]
    for name in ("info", "ls", "ls below", "ls deeper"):
        store.faults[name] = [BROKEN, EOFError()]
        assert found(tmp_path) == whole and not store.faults[name]
        store.faults[name] = [BROKEN] * 3
        with pytest.raises(StorageError, match=r"cannot (list|look at) sftp://server"):
            found(tmp_path)
    store.faults["ls deeper"] = [BROKEN] * 3
    with pytest.raises(StorageError, match="cannot list"):
        Place(parse(f"sftp://server{tmp_path}")).sizes("below")
    store.faults["ls drive"] = [BROKEN] * 3
    with pytest.raises(StorageError, match="cannot list"):
        identity(Item(parse(f"sftp://server{tmp_path}/drive"), "bag", True))
    assert found(tmp_path) == whole


def test_what_may_not_be_looked_at_is_told(store: Store, tmp_path: Path) -> None:
    there(tmp_path, "a.png", "below/b.png")
    store.faults["ls below"] = [DENIED] * 2
    with pytest.raises(UsageError, match=r"cannot look into sftp://server/.*/below \(Permission denied\): check its permissions"):
        found(tmp_path)
    place = Place(parse(f"sftp://server{tmp_path}"))
    with pytest.raises(StorageError, match=r"cannot list .*/below \(Permission denied\): check its permissions"):
        place.sizes("below")
    store.faults |= {"cat_file": [DENIED], "rm_file": [DENIED], "put_file": [DENIED]}
    with pytest.raises(StorageError, match=r"cannot read .*/a.png \(Permission denied\): check its permissions"):
        place.read("a.png")
    with pytest.raises(OutputError, match=r"cannot remove .*/a.png \(Permission denied\): check its permissions"):
        place.remove("a.png")
    with place, pytest.raises(OutputError, match=r"cannot write .*/b.json \(Permission denied\): check its permissions") as caught:
        place.publish_text("x", "b.json")
    assert not isinstance(caught.value, NoRoomError), "another file may be writable"


def test_what_is_not_there_is_not_what_cannot_be_connected(monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path) -> None:
    def connect(self: Remote) -> Any:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/no/known_hosts")

    assert Remote(parse("sftp://server/x")).info(str(tmp_path / "missing")) is None
    remotes.close_connections()
    monkeypatch.setattr(Remote, "_connected", connect)
    with pytest.raises(StorageError, match="No such file or directory: '/no/known_hosts'"):
        Remote(parse("sftp://server/x")).info(str(tmp_path / "missing"))


def test_a_full_disk_of_this_machine_is_not_the_stores(store: Store, tmp_path: Path) -> None:
    item = Item(parse(f"sftp://server{there(tmp_path, 'a.png')}/a.png"), "image")
    store.faults["get_file"] = [OSError(errno.ENOSPC, "No space left on device")]
    with pytest.raises(StorageError, match=r"cannot write sftp://server/.* into .* \(No space left on device\): set TMPDIR"):
        fetched(item, tmp_path)
    with pytest.raises(StorageError, match=r"\(No such file or directory\): set TMPDIR"):
        fetched(item, tmp_path / "removed")
    with pytest.raises(StorageError, match=r"\(No such file or directory\): set TMPDIR"):
        fetched(Item(item.uri.at(str(tmp_path)), "bag", True), tmp_path / "removed")
    assert len(store.opened) == 1, "there is nothing wrong with the connection"


def test_connections_are_used_again_by_any_thread_and_closed(store: Store, tmp_path: Path) -> None:
    remote = Remote(parse("sftp://server/x"))
    for _ in range(3):
        thread = threading.Thread(target=remote.entries, args=(str(tmp_path),))
        thread.start()
        thread.join()
    assert len(store.opened) == 1
    both = threading.Barrier(2)
    threads = [threading.Thread(target=remote.call, args=("wait", lambda filesystem: both.wait(PATIENCE_S))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.opened) == 2, "each serves one call at a time"
    with Place(parse(f"sftp://server{tmp_path}")):
        pass
    assert all(connection.closed for connection in store.opened)
    assert remote.entries(str(tmp_path)) == {} and len(store.opened) == 3


def test_results_in_a_store_are_no_inputs(store: Store, tmp_path: Path) -> None:
    there(tmp_path, "a.png", "out/depth/x.png", "out/depth/drive-1/metadata.yaml", "out/items/x.json")
    for pattern in ("", "/**", "/**/*", "/*/../*"):
        for out in (f"sftp://server{tmp_path}/out", f"sftp://somebody@SERVER/{tmp_path}/./out/"):
            assert found(tmp_path, pattern, out) == ["a.png"]
    assert found(tmp_path, "/*/*/x.png", f"sftp://other{tmp_path}/out") == ["out/depth/x.png"]


def test_patterns_in_a_store_are_those_of_a_disk(store: Store, tmp_path: Path) -> None:
    names = ("2026-01/a.mcap", "2026-01/more/b.mcap", "2026-02/c.mcap", "2027/d.mcap", "2026-02/.hidden.mcap", "e.mcap", "f?g.mcap")
    there(tmp_path, *names, "2026-02/split/metadata.yaml", "2026-02/split/split_0.mcap", "2026-02/split/split_1.mcap", "fxg.mcap")
    patterns = ("2026-*/*.mcap", "*/*.mcap", "**/*.mcap", "**/more/*", "2026-0[2-9]/*", "*", "**", "2026-01/*/b.mcap", "f?g.mcap")
    for pattern in (*patterns, "*/split/*_1.mcap", "*/.*", "2026-?/c.mcap", "*.png"):
        disk, remote = ([], [])  # type: tuple[list[Item], list[Item]]
        for given, items in ((f"{tmp_path}/{pattern}", disk), (f"sftp://server{tmp_path}/{pattern}", remote)):
            with suppress(UsageError):
                items += find_items([given], parse("/out")).items
        assert {(item.uri.path, item.kind) for item in disk} == {(item.uri.path, item.kind) for item in remote}, pattern
    assert found(tmp_path, "/*/*.mcap") == ["2026-01/a.mcap", "2026-02/c.mcap", "2027/d.mcap"]
    store.faults["ls more"] = [DENIED]
    found(tmp_path, "/2026-*/*.mcap")
    assert store.faults["ls more"], "what cannot match is not listed"


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
    remotes.close_connections()


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
    remotes.close_connections()
    remote.fetch(str(tmp_path / "large"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes() and line.connections == 3
    line.cuts = [100_000]
    remotes.close_connections()
    remote.put(tmp_path / "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes() and line.connections == 5
    line.cuts = [50_000] * 3
    remotes.close_connections()
    with pytest.raises(StorageError, match=r"cannot write sftp://127\.0\.0\.1"):
        remote.put(tmp_path / "large", str(tmp_path / "never"))
    assert not (tmp_path / "never").exists()
    with Place(parse(address(line, tmp_path / "out"))) as place:
        line.cuts = [50_000] * 3
        (place.staging / "x").write_bytes(bytes(200_000))
        remotes.close_connections()
        with pytest.raises(OutputError, match="--resume goes on from there"):
            place.publish(place.staging / "x", "depth/x")


def test_a_line_that_is_cut_in_a_listing_costs_another_try(line: Line, tmp_path: Path) -> None:
    names = sorted(f"{'long' * 30}{number:04d}?#%20.png" for number in range(1000))
    there(tmp_path / "many", *names)
    line.cuts = [60_000]
    assert [item.uri.name for item in find_items([address(line, tmp_path)], parse("/out")).items] == names and line.connections == 2
    assert [item.uri.name for item in find_items([address(line, tmp_path / "many/*0007?#*.png")], parse("/out")).items] == [
        names[7]
    ]
    assert line.connections == 2
    for find in (find_items, lambda given, out: Place(parse(given[0])).sizes("many")):
        remotes.close_connections()
        line.cuts = [60_000] * 3
        with pytest.raises(StorageError, match="cannot list"):
            find([address(line, tmp_path)], parse("/out"))


def test_a_host_that_nobody_vouches_for_is_refused(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPTH_RETROFIT_KNOWN_HOSTS")
    remote = Remote(parse(address(line, tmp_path)))
    remotes.close_connections()
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
