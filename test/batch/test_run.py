"""A batch of images, a video and bags: what is done stays done, and the accounts add up."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.batch.engine import Job
from depth_retrofit_ros.batch.place import Place
from depth_retrofit_ros.cli import batch as command
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.io.depth_files import read_depth_png
from test.batch.works import InlineEngine
from test.evaluation.bags import write_bag
from test.videos import write_video

MODEL = ("--model", "compact", "--device", "cpu", "--coarse-size", "112", "--budget", "0.02", "--threads", "1")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, one of which is none, a video and a bag."""
    folder: Path = tmp_path_factory.mktemp("inputs")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (90, 120, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"photo{number}.png"), pixels)
    (folder / "broken.png").write_bytes(b"no image")
    write_video(folder / "film.mp4", 3)
    write_bag(folder / "drive", "mcap", frames=5, height=96, width=128)
    return folder


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[InlineEngine]:
    """Those that a command has made, of which each does its tasks in this process."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    made: list[InlineEngine] = []

    def make(args: Any, threads: int, factory: str, settings: Any) -> InlineEngine:
        made.append(InlineEngine(Job(factory, settings)))
        return made[-1]

    monkeypatch.setattr(command, "make_chosen_engine", make)
    return made


def run(inputs: Path, out: Path, *options: str) -> int:
    return cli.main(["batch", str(inputs), "--out", str(out), *MODEL, *options])


def report(out: Path) -> Any:
    return json.loads((out / "report.json").read_text())


def rows(out: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    found: list[dict[str, Any]] = parquet.read_table(str(out / "frames.parquet")).to_pylist()
    return found


def test_every_input_once_with_table_manifest_and_report(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(inputs, out, "--part", "0.25", "--confidence") == 1
    told = capsys.readouterr()
    assert "given 5 = done 4 + failed 1 + skipped 0; 10 frames answered" in told.out
    (line,) = [line for line in told.err.splitlines() if "error" in line]
    assert line.startswith(f"depth-retrofit: error: {inputs}/broken.png cannot be decoded: it is not an image: give")
    table = rows(out)
    assert len(table) == 11 and sum(row["reason"] is not None for row in table) == 1
    bag = [row for row in table if row["kind"] == "bag"]
    assert [row["frame"] for row in bag] == list(range(5)) and len({row["stamp_ns"] for row in bag}) == 5
    for row in table:
        if row["reason"] is None:
            assert read_depth_png(out / row["file"], row["png_unit"]).shape == (row["height"], row["width"])
            assert row["refined_pixels"] > 0 and row["total_ms"] > 0 and 0 <= row["confidence"] <= 1
    manifest = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    files = [file for entry in manifest for file in entry.get("files", ())]
    assert len(files) == 20 and all((out / name).stat().st_size == size for name, size, _ in files)
    assert {path.name for path in out.iterdir()} >= {"depth", "items", "run.json"} and not (out / ".staging").exists()
    # A photo's depth is that of the command for photos.
    single = ("--device", "cpu", "--coarse-size", "112", "--budget", "0.02", "--model", "compact")
    assert cli.main(["image", str(inputs / "photo0.png"), "--out", str(tmp_path / "single"), *single]) == 0
    file = next(row["file"] for row in table if row["input"].endswith("photo0.png"))
    assert (out / file).read_bytes() == (tmp_path / "single" / "photo0_relative.png").read_bytes()
    # And the bag's, that of a bag that is not divided.
    assert run(inputs / "drive", tmp_path / "whole", "--confidence") == 0
    for name in sorted(path.name for path in (out / "depth").glob("drive-*/*")):
        (one,), (other,) = (list((folder / "depth").glob(f"drive-*/{name}")) for folder in (out, tmp_path / "whole"))
        assert one.read_bytes() == other.read_bytes(), name


def test_what_is_done_is_not_done_again_and_what_changed_is(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    out, given = tmp_path / "out", tmp_path / "given"
    given.mkdir()
    for name in ("photo0.png", "photo1.png", "broken.png"):
        (given / name).write_bytes((inputs / name).read_bytes())
    assert run(given, out) == 1
    digest = report(out)["digest"]
    assert run(given, out) == 2
    assert "holds an earlier run: give --resume" in capsys.readouterr().err
    assert run(given, out, "--resume", "--confidence") == 2
    assert "holds a run with another confidence: give the same" in capsys.readouterr().err
    assert run(given, out, "--resume") == 1
    assert "given 3 = done 0 + failed 1 + skipped 2" in capsys.readouterr().out
    assert [key.partition("-")[0] for key in engines[-1].submitted] == ["items/broken"]
    assert report(out)["digest"] == digest and len(rows(out)) == 3
    (given / "photo0.png").write_bytes((inputs / "photo1.png").read_bytes())
    (given / "broken.png").write_bytes((inputs / "photo1.png").read_bytes())
    (next((out / "depth").glob("photo1-*"))).write_bytes(b"")  # of a file system that lost it
    assert run(given, out, "--resume") == 0
    told = capsys.readouterr().out
    assert "photo0.png has changed since an earlier run: it is done again" in told
    assert "given 3 = done 3 + failed 0 + skipped 0" in told
    assert len({path.read_bytes() for path in (out / "depth").iterdir()}) == 1 and len(list((out / "depth").iterdir())) == 3
    assert len(list((out / "items").iterdir())) == 3, "that it once failed is forgotten"


def test_parts_of_a_bag_that_are_done_are_not_done_again(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish = Place.publish_text

    def interrupted(self: Place, text: str, name: str) -> Any:
        if name.endswith(".00001.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return publish(self, text, name)

    out = tmp_path / "out"
    monkeypatch.setattr(Place, "publish_text", interrupted)
    assert run(inputs / "drive", out, "--part", "0.25") == 1
    told = capsys.readouterr()
    assert "given 1 = done 0 + failed 1 + skipped 0" in told.out and "unexpected OSError" in told.err
    monkeypatch.setattr(Place, "publish_text", publish)
    assert run(inputs / "drive", out, "--part", "0.25", "--resume") == 0
    assert [key.rpartition(".json")[0][-5:] for key in engines[-1].submitted] == ["00001"]
    assert [row["frame"] for row in rows(out)] == list(range(5))


def test_a_full_disk_ends_the_run_and_it_goes_on(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room, fsync = [1], os.fsync

    def full(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).suffix == ".png":
            room[0] -= 1
            if room[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "out"
    photos = str(inputs / "photo*.png")
    assert run(Path(photos), out) == 1
    told = capsys.readouterr()
    assert "No space left on device" in told.err and "given 2 = done 1 + failed 0 + skipped 0 + left 1" in told.out
    room[0] = 10
    assert run(Path(photos), out, "--resume") == 0
    assert "given 2 = done 1 + failed 0 + skipped 1" in capsys.readouterr().out
    assert len(list((out / "depth").iterdir())) == 2


def test_an_mcap_bag_of_each_bag_and_accuracy_where_there_is_a_reference(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(inputs, out, "--depth", "bag") == 2
    assert "--depth bag is of bags" in capsys.readouterr().err
    assert (
        run(inputs / "drive", out, "--depth", "bag", "--depth-topic", "/camera/depth", "--trust-scale", "--coarse-size", "256") == 0
    )
    from depth_retrofit_ros.evaluation.data.bag import Bag

    (folder,) = (out / "depth").iterdir()
    with Bag(folder) as bag:
        assert bag.topics["/depth_retrofit/depth/image_rect"].count == 5 and "/depth_retrofit/points" in bag.topics
    table = rows(out)
    assert all(row["abs_rel"] > 0 and row["coarse_abs_rel"] > 0 for row in table)
    assert report(out)["means"]["abs_rel"] == pytest.approx(np.mean([row["abs_rel"] for row in table]))


def test_frames_that_fail_are_rows_with_a_reason(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from depth_retrofit_ros.evaluation.data.bag import Bag
    from test.evaluation.bags import PERIOD_NS, START_NS

    original: Callable[..., Any] = Bag.messages

    def messages(self: Bag, topics: Any, *since_ns: int) -> Any:
        for message in original(self, topics, *since_ns):
            bad = message.topic == "/camera/image" and message.time_ns == START_NS + PERIOD_NS
            yield type(message)(message.topic, message.time_ns, message.data[:40]) if bad else message

    monkeypatch.setattr(Bag, "messages", messages)
    assert run(inputs / "drive", tmp_path / "out") == 0
    table = rows(tmp_path / "out")
    assert [row["reason"] is None for row in table] == [True, False, True, True, True]
    assert report(tmp_path / "out")["frames"] == {"answered": 4, "failed": 1, "by_kind": {"bag": 4}}


@pytest.mark.slow
def test_workers_of_this_machine_make_the_same(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is of all files."""
    photos = Path(str(inputs / "photo*.png"))
    assert run(photos, tmp_path / "inline") == 0
    monkeypatch.undo()
    assert run(photos, tmp_path / "local", "--workers", "2") == 0
    assert report(tmp_path / "local")["digest"] == report(tmp_path / "inline")["digest"]
    assert "local worker" in report(tmp_path / "local")["engine"]
