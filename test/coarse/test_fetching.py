"""``models fetch`` against a hub on the loopback: cut connections, wrong files, full disks, mirrors, licences, no network."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse import fetching
from depth_retrofit_ros.coarse import hub as hub_module
from depth_retrofit_ros.coarse.registry import find_checkpoint, find_model, is_present
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io import digests
from test.coarse.hub_server import Hub, serving
from test.coarse.plugin_package import use_plugins, write_plugin
from test.waiting import run_python, same_imports

pytest.importorskip("huggingface_hub")

REPO, REVISION = "acme/depth", "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 800
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
PLUGIN = f"""
def hub(**pin):
    return HubModel("{REPO}", files=("config.json", "model.pt"), **pin)

files = ("depth/model.pt",)
MODELS = [
    entry("pinned", files=files, hub=hub(revision="{REVISION}", sha256="{DIGEST}")),
    entry("open", files=files, hub=hub()),
    entry("gratis", files=files, hub=hub(revision="{REVISION}", sha256="{DIGEST}"), commercial=False, license="CC BY-NC 4.0",
          needs=("a_module_that_is_not_there",)),
]

class Model:
    def __init__(self, weights, device, claim, size):
        self.name, self.device, self.claim, self.size = "pinned", device, claim, size
        assert weights.stat().st_size == {len(WEIGHTS)}

    def predict(self, image, camera, hints=None):
        import torch
        from depth_retrofit_ros.coarse import CoarsePrediction
        return CoarsePrediction(torch.ones(12, 16), torch.rand(4, 12, 16))

load = Model
"""


class Place(NamedTuple):
    """hub: the stand-in, which has the model; cache: the hub's, empty; folder: for whatever a test needs."""

    hub: Hub
    cache: Path
    folder: Path

    @property
    def weights(self) -> Path:
        return self.cache / "models--acme--depth" / "snapshots" / REVISION / "model.pt"

    @property
    def partial(self) -> Path:
        return self.cache / "models--acme--depth" / "partial" / f"{REVISION}-model.pt"

    def environment(self, **more: str) -> dict[str, str]:
        """For a process of its own, where the stand-in is the hub."""
        path = f"{self.folder / 'plugin'}:{same_imports()['PYTHONPATH']}"
        ours = {"PYTHONPATH": path, "HF_HUB_CACHE": str(self.cache), "HF_ENDPOINT": self.hub.url}
        return {**os.environ, **ours, **more}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # what is written at a time, and so kept
    use_plugins(monkeypatch, write_plugin(tmp_path / "plugin", "acme", PLUGIN, "acme = acme:MODELS"))
    monkeypatch.delitem(sys.modules, "acme", raising=False)
    with serving(Hub({(REPO, REVISION, "config.json"): b"{}", (REPO, REVISION, "model.pt"): WEIGHTS})) as hub:
        yield Place(hub, tmp_path / "hub", tmp_path)
    sys.modules.pop("acme", None)


def fetch(place: Place, *arguments: str, code: int = 0, source: str | None = None) -> None:
    assert cli.main(["models", "fetch", *arguments, "--from", source or place.hub.url]) == code


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("depth-retrofit: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("depth-retrofit: error: ")


def test_a_model_is_fetched_once_and_then_here(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    info = find_model("pinned")
    assert not is_present(info)
    fetch(place, "pinned")
    assert capsys.readouterr().out == f"pinned: {place.weights}\n"
    assert place.weights.read_bytes() == WEIGHTS and is_present(info)
    assert find_checkpoint(info, None) == place.weights
    assert not place.partial.exists()
    asked = len(place.hub.requests)
    fetch(place, "pinned", "pinned")
    assert len(place.hub.requests) == asked, "it is there, and is it"
    assert cli.main(["models", "--json"]) == 0
    assert {entry["name"]: entry["present"] for entry in json.loads(capsys.readouterr().out.partition("\n")[2])}["pinned"] is True


def test_a_mirror_by_its_address_is_not_told_who_you_are(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(place, "pinned")
    assert set(place.hub.tokens) == {None}


def test_a_connection_that_breaks_is_taken_up_again(place: Place) -> None:
    place.hub.cuts = {"model.pt": 70_000}
    fetch(place, "pinned")
    assert place.hub.ranges("model.pt")[0] is None
    assert place.hub.ranges("model.pt")[1:] == ["bytes=70000-"]
    assert place.weights.read_bytes() == WEIGHTS
    assert place.weights.with_name("config.json").read_bytes() == b"{}"


def test_the_next_run_goes_on_where_one_was_cut_off(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.hub.cuts = {"model.pt": 50_000}
    place.hub.refuses = 2  # after the cut the hub is gone
    fetch(place, "pinned", code=1)
    told = error_line(capsys)
    assert told.startswith("cannot fetch acme/depth (") and told.endswith("; what has come is kept, so fetch again")
    assert not is_present(find_model("pinned"))
    assert place.partial.stat().st_size == 50_000
    place.hub.refuses = None
    place.hub.requests.clear()
    fetch(place, "pinned")
    assert place.hub.ranges("model.pt") == ["bytes=50000-"] and place.hub.ranges("config.json") == []
    assert place.weights.read_bytes() == WEIGHTS


def test_a_wrong_file_is_deleted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.hub.files[REPO, REVISION, "model.pt"] = WEIGHTS[::-1]
    fetch(place, "pinned", code=1)
    assert error_line(capsys).startswith("model.pt of acme/depth is not the pinned one (SHA-256 ")
    assert not place.weights.exists() and not place.partial.exists()
    assert not is_present(find_model("pinned"))


def test_a_wrong_file_in_the_cache_is_replaced(place: Place) -> None:
    blob = place.cache / "models--acme--depth" / "blobs" / "x"
    for folder in (blob.parent, place.weights.parent):
        folder.mkdir(parents=True)
    blob.write_bytes(b"half a file")
    place.weights.symlink_to(blob)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        place.weights.with_name("config.json").write_bytes(b"{}")
        find_checkpoint(find_model("pinned"), None)
    fetch(place, "pinned")
    assert place.weights.read_bytes() == WEIGHTS and not blob.exists()


def test_no_space_is_told_before_the_download(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(place.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    fetch(place, "pinned", code=1)
    told = error_line(capsys)
    assert told.startswith("0.2 MB do not fit into ") and "(0.1 MB free): free some space, or set HF_HUB_CACHE" in told
    assert place.hub.ranges("model.pt") == []


def test_a_disk_that_is_full_all_the_same(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.partial.parent.mkdir(parents=True)
    place.partial.symlink_to("/dev/full")
    fetch(place, "pinned", code=1)
    told = error_line(capsys)
    assert told.startswith(f"{place.cache / 'models--acme--depth'} is full: free some space")


def test_a_licence_that_must_be_accepted_says_where(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.hub.gated = True
    fetch(place, "pinned", code=1)
    assert error_line(capsys) == (
        "acme/depth is gated: accept its licence at https://huggingface.co/acme/depth, run 'hf auth login', and fetch again"
    )


def test_without_a_pin_only_the_user_can_say_what_is_right(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(place, "open", code=1)
    told = error_line(capsys)
    assert told.startswith("open is not fetched: its pin is not corroborated: depth-retrofit models fetch open --revision COMMIT")
    for wrong in (["--revision", REVISION], ["--sha256", DIGEST], ["--revision", "main", "--sha256", DIGEST]):
        fetch(place, "open", *wrong, code=1)
        assert error_line(capsys) == "open needs both: --revision of 40 hex digits and --sha256 of 64, in lower case"
    assert place.hub.requests == []
    fetch(place, "open", "--revision", REVISION, "--sha256", DIGEST)
    info = find_model("open")
    assert is_present(info) and find_checkpoint(info, None) == place.weights, "what the user said is remembered"
    place.weights.write_bytes(b"other bytes")
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        find_checkpoint(info, None)
    fetch(place, "pinned", "--sha256", DIGEST, code=1)
    assert "pinned is pinned to 0123456789abcdef0123456789abcdef01234567: leave --revision and --sha256 out" in error_line(capsys)


def test_a_users_pin_that_is_garbage_is_none(place: Place) -> None:
    source = find_model("open").hub
    assert source is not None
    note = place.cache / "models--acme--depth" / hub_module.USERS_PIN
    note.parent.mkdir(parents=True)
    for garbage in ("{", "[]", '{"revision": "main", "sha256": "x"}'):
        note.write_text(garbage)
        assert hub_module.pinned(source) == source


@pytest.mark.parametrize("inside", ["", "depth"])
def test_a_folder_will_do(place: Place, capsys: pytest.CaptureFixture[str], inside: str) -> None:
    stick = place.folder / "stick"
    (stick / inside).mkdir(parents=True)
    (stick / inside / "config.json").write_bytes(b"{}")
    fetch(place, "pinned", code=1, source=str(stick))
    assert error_line(capsys) == f"{stick} has no model.pt: give the folder of acme/depth, or that which has depth"
    (stick / inside / "model.pt").write_bytes(b"other bytes")
    fetch(place, "pinned", code=1, source=str(stick))
    assert "is not the pinned one" in error_line(capsys)
    (stick / inside / "model.pt").write_bytes(WEIGHTS)
    fetch(place, "pinned", source=str(stick))
    assert is_present(find_model("pinned")) and place.hub.requests == []


def test_two_at_the_same_file_do_not_mix(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.partial.parent.mkdir(parents=True)
    with place.partial.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        fetch(place, "pinned", code=1)
    assert error_line(capsys) == f"{place.partial.name} is being fetched by another process: wait for it"


def test_it_is_held_until_it_has_its_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes between the download and the renaming would write into what has been checked."""
    seen: list[str] = []

    def look(path: Path) -> str:
        with path.open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(path.name)
        return digests.digest_of(path)

    monkeypatch.setattr(fetching, "digest_of", look)
    fetch(place, "pinned")
    assert seen == [place.partial.name] and place.weights.read_bytes() == WEIGHTS


def test_what_another_process_has_brought_meanwhile_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking for the file and holding it: it neither comes twice nor is it written to."""
    flock = fcntl.flock

    def late(file: IO[bytes], how: int) -> None:
        if file.name == str(place.partial) and not place.weights.exists():
            place.partial.write_bytes(WEIGHTS)
            place.partial.replace(place.weights)  # what ``file`` is now
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    fetch(place, "pinned")
    assert place.hub.ranges("model.pt") == []
    assert place.weights.read_bytes() == WEIGHTS and not place.partial.exists()


def test_with_wrong_weights_the_configuration_goes_too(place: Place) -> None:
    """It has no pin of its own: what came along with wrong weights may be as wrong."""
    place.weights.parent.mkdir(parents=True)
    config = place.weights.with_name("config.json")
    config.write_bytes(b"wrong")
    place.weights.write_bytes(b"wrong")
    fetch(place, "pinned")
    assert config.read_bytes() == b"{}" and place.weights.read_bytes() == WEIGHTS
    shutil.rmtree(place.weights.parent)
    place.hub.files[REPO, REVISION, "model.pt"] = WEIGHTS[::-1]
    fetch(place, "pinned", code=1)
    assert not config.exists() and not is_present(find_model("pinned"))


def test_a_file_is_hashed_once_until_it_changes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return digest_of(path)

    digest_of = digests.digest_of
    fetch(place, "pinned")
    monkeypatch.setattr(digests, "digest_of", counted)
    info = find_model("pinned")
    for _ in range(3):
        assert find_checkpoint(info, None) == place.weights
        monkeypatch.setattr(hub_module, "_digests", {})  # as in the next process
    assert hashed == [place.weights]
    times = place.weights.stat()
    with place.weights.open("r+b") as file:
        file.write(b"other")
    os.utime(place.weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had been
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        find_checkpoint(info, None)
    note = place.weights.parents[2] / hub_module.VERIFIED
    for garbage in ("{", "[]"):
        note.write_text(garbage)
        with pytest.raises(WeightsError, match="SHA-256 differs"):
            find_checkpoint(info, None)


def test_a_cache_that_cannot_be_written_is_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(place, "pinned")
    (place.weights.parents[2] / hub_module.VERIFIED).mkdir()
    for _ in range(2):
        assert find_checkpoint(find_model("pinned"), None) == place.weights


def test_one_that_fails_does_not_keep_the_others_away(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(place, "meter-nyu", "compact", "gratis", code=1)
    told = capsys.readouterr()
    assert "compact: part of this package, nothing to fetch" in told.out
    assert "gratis is for non-commercial use only (CC BY-NC 4.0)" in told.out
    assert f"gratis: {place.weights}; to run it: pip install a_module_that_is_not_there" in told.out
    assert "meter-nyu cannot be fetched: get models/build_model_best_nyu_xxs from" in told.err
    assert cli.main(["models", "fetch", "pinned", "no-such-model"]) == 2, "told before anything is fetched"


def test_a_mirror_for_good_and_a_download_that_is_allowed(place: Place, tmp_path: Path) -> None:
    """In processes of their own, as users run them: nothing is downloaded until it may be."""
    import cv2
    import numpy as np

    photo = tmp_path / "photo.png"
    assert cv2.imwrite(str(photo), np.zeros((48, 64, 3), np.uint8))
    command = ["-m", "depth_retrofit_ros.cli.main", "image", str(photo), "--model", "pinned", "--out", str(tmp_path / "out")]
    refused = run_python(*command, env=place.environment())
    assert refused.returncode == 2 and place.hub.requests == []
    assert refused.stderr.endswith("error: the weights of pinned are not here: depth-retrofit models fetch pinned\n")
    done = run_python(*command, "--allow-download", env=place.environment())
    assert done.returncode == 0, done.stderr
    assert place.weights.read_bytes() == WEIGHTS


def test_offline_is_one_line(place: Place) -> None:
    told = run_python("-m", "depth_retrofit_ros.cli.main", "models", "fetch", "pinned", env=place.environment(HF_HUB_OFFLINE="1"))
    assert told.returncode == 1 and place.hub.requests == []
    (line,) = told.stderr.splitlines()
    assert line.startswith("depth-retrofit: error: cannot fetch acme/depth (OfflineModeIsEnabled: ")
