"""A batch of images, a video and bags: what is done stays done, and the accounts add up."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.batch import settings, work
from depth_retrofit_ros.batch.engine import Job, Outcome
from depth_retrofit_ros.batch.given_camera import GivenCamera
from depth_retrofit_ros.batch.inputs import Item
from depth_retrofit_ros.batch.place import Place
from depth_retrofit_ros.batch.settings import BatchSettings
from depth_retrofit_ros.batch.uris import Uri
from depth_retrofit_ros.batch.videos import answered_frames
from depth_retrofit_ros.cli import batch as command
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.errors import ImageError, SetupError, StorageError
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


def test_each_bag_becomes_a_bag(inputs: Path, tmp_path: Path, engines: list[InlineEngine]) -> None:
    for name in ("one", "two"):
        shutil.copytree(inputs / "drive", tmp_path / "given" / name)
    assert run(tmp_path / "given", tmp_path / "out", "--depth", "bag", "--frames", "2") == 0
    assert len(list((tmp_path / "out" / "depth").glob("*/metadata.yaml"))) == 2


def test_a_name_may_look_like_that_of_a_result(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = tmp_path / "given", tmp_path / "out"
    shutil.copytree(inputs / "drive", given / "cam-1700000000.0_back")
    shutil.copy(inputs / "photo0.png", given / "cam-1700000000_left.png")
    shutil.copy(inputs / "broken.png", given / "cam-1700000000_right.png")
    (given / "cam-1700000000_rear").mkdir()
    (given / "cam-1700000000_rear" / "metadata.yaml").write_bytes(b"no bag")
    for resumed, told in (((), "done 2 + failed 2 + skipped 0"), (("--resume",), "done 0 + failed 2 + skipped 2")):
        assert run(given, out, "--frames", "2", *resumed) == 1
        assert f"given 4 = {told}" in capsys.readouterr().out


def test_what_cannot_be_looked_at_for_a_while_keeps_its_results(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(item: Any) -> str:
        raise StorageError("the store does not answer")

    out = tmp_path / "out"
    assert run(inputs / "photo0.png", out) == 0
    files = sorted((out / "depth").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(settings, "identity", silent)
        assert run(inputs / "photo0.png", out, "--resume") == 1
    told = capsys.readouterr()
    assert "given 1 = done 0 + failed 1 + skipped 0" in told.out and "the store does not answer" in told.err
    assert [row["reason"] for row in rows(out)] == [None, "the store does not answer"]
    assert run(inputs / "photo0.png", out, "--resume") == 0
    assert sorted((out / "depth").iterdir()) == files and [row["reason"] for row in rows(out)] == [None]


def test_old_results_stay_until_the_input_is_begun(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: InlineEngine, timeout_s: float) -> Any:
        raise KeyboardInterrupt

    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    shutil.copy(inputs / "photo0.png", given)
    (given / "wrong.png").write_bytes(b"")
    assert run(given, out) == 1
    before = sorted(out.rglob("*/*.*"))
    shutil.copy(inputs / "photo1.png", given / "photo0.png")
    with monkeypatch.context() as patch:
        patch.setattr(InlineEngine, "has_room", lambda self, ahead, alone: False)
        patch.setattr(InlineEngine, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(given, out, "--resume")
    assert sorted(out.rglob("*/*.*")) == before
    assert (report(out)["left"], report(out)["reasons"]) == (2, {}), "why it failed earlier is no reason of this run"


def test_a_try_that_comes_to_nothing_leaves_nothing(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*given: Any) -> Any:
        for number, frame in enumerate(answered_frames(*given)):
            if number == 2:
                raise ImageError("the rest is lost")
            yield frame

    submit, out = InlineEngine.submit, tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(work, "answered_frames", breaking)
        assert run(inputs / "film.mp4", out) == 1
    assert not [path for path in (out / "depth").rglob("*") if path.is_file()]

    def dying(self: InlineEngine, key: str, task: Any, ahead: bool, alone: bool) -> None:
        self.submitted.append(key)
        if len(self.submitted) == 1:
            left = out / "depth" / task.item.name / "000009_relative.png"
            left.write_bytes(b"of a longer film")
            self._came.append(Outcome(key, "lost", "its worker ended"))
        else:
            submit(self, key, task, ahead, alone)

    monkeypatch.setattr(InlineEngine, "submit", dying)
    assert run(inputs / "film.mp4", out, "--resume") == 0
    assert sorted(path.name for path in (out / "depth").glob("*/*")) == [f"{number:06d}_relative.png" for number in range(3)]


def test_a_bag_that_changes_between_its_parts_fails(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit = InlineEngine.submit

    def changing(self: InlineEngine, key: str, task: Any, ahead: bool, alone: bool) -> None:
        if task.number == 1:
            os.utime(tmp_path / "drive" / "metadata.yaml", ns=(1, 1))
        submit(self, key, task, ahead, alone)

    shutil.copytree(inputs / "drive", tmp_path / "drive")
    with monkeypatch.context() as patch:
        patch.setattr(InlineEngine, "submit", changing)
        assert run(tmp_path / "drive", tmp_path / "out", "--part", "0.25") == 1
    assert "changed while it was read: --resume does all of it again" in capsys.readouterr().err
    assert run(tmp_path / "drive", tmp_path / "out", "--part", "0.25", "--resume") == 0
    assert [row["frame"] for row in rows(tmp_path / "out")] == list(range(5))


def test_what_has_a_seal_is_done_whatever_became_of_its_worker(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = InlineEngine.wait
    monkeypatch.setattr(
        InlineEngine, "wait", lambda self, timeout_s: [Outcome(key, "lost", "ended") for key, *_ in wait(self, timeout_s)]
    )
    assert run(inputs / "drive", tmp_path / "out", "--frames", "2", "--retries", "0") == 0
    assert (report(tmp_path / "out")["done"], report(tmp_path / "out")["reasons"]) == (1, {})


def test_what_ends_while_the_run_does_is_counted(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: InlineEngine, timeout_s: float) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(InlineEngine, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(inputs / "photo0.png", tmp_path / "out")
    assert (report(tmp_path / "out")["done"], report(tmp_path / "out")["left"]) == (1, 0)


def test_results_that_who_leads_does_not_see_are_none(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submit, out = InlineEngine.submit, tmp_path / "out"

    def elsewhere(self: InlineEngine, key: str, task: Any, ahead: bool, alone: bool) -> None:
        submit(self, key, task, ahead, alone)
        (out / key).unlink()

    monkeypatch.setattr(InlineEngine, "submit", elsewhere)
    assert run(inputs / "photo0.png", out) == 1
    assert "is another folder: give an --out that all machines share" in capsys.readouterr().err
    with pytest.raises(SetupError, match="is not that of who leads the run: give a remote --out"):
        work.BatchWork(Uri("file", str(out)), BatchSettings({}, GivenCamera()), "nobody")


def test_a_run_that_no_worker_could_begin_with_is_none(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: InlineEngine) -> InlineEngine:
        raise SetupError("no worker can begin")

    with monkeypatch.context() as patch:
        patch.setattr(InlineEngine, "__enter__", refused)
        assert run(inputs / "photo0.png", tmp_path / "out") == 2
    assert run(inputs / "photo0.png", tmp_path / "out") == 0


def test_frames_of_a_video_that_cannot_be_decoded_are_rows(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(reader: Any, *given: Any) -> Any:
        for frame in answered_frames(reader, *given):
            reader.failed += 2 * (frame.number == 1)
            yield frame

    monkeypatch.setattr(work, "answered_frames", missing)
    assert run(inputs / "film.mp4", tmp_path / "out") == 0
    assert [row["frame"] for row in rows(tmp_path / "out")] == [0, None, None, 1, 2]
    assert report(tmp_path / "out")["frames"] == {"answered": 3, "failed": 2, "by_kind": {"video": 3}}


def test_a_bag_fails_where_none_of_its_images_is_answered(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from depth_retrofit_ros.evaluation.data.bag import Bag
    from test.evaluation.bags import PERIOD_NS, START_NS

    original: Callable[..., Any] = Bag.messages
    since = [3]

    def messages(self: Bag, topics: Any, *since_ns: int) -> Any:
        for message in original(self, topics, *since_ns):
            bad = message.topic == "/camera/image" and message.time_ns >= START_NS + since[0] * PERIOD_NS
            yield type(message)(message.topic, message.time_ns, message.data[:40]) if bad else message

    monkeypatch.setattr(Bag, "messages", messages)
    assert run(inputs / "drive", tmp_path / "out", "--part", "0.25") == 0, "of two parts one has no answer"
    assert [row["reason"] is None for row in rows(tmp_path / "out")] == [True] * 3 + [False] * 2
    since[0] = 0
    for resumed in ((), ("--resume",)):
        capsys.readouterr()
        assert run(inputs / "drive", tmp_path / "none", "--part", "0.25", *resumed) == 1
        told = capsys.readouterr()
        assert "none of its images was answered: " in told.err and "given 1 = done 0 + failed 1 + skipped 0" in told.out


def test_a_sensors_depth_belongs_to_the_image(inputs: Path, tmp_path: Path) -> None:
    item = Item(Uri("file", str(inputs / "photo0.png")), "image")
    known = BatchSettings({}, GivenCamera(), sparse=tmp_path)
    before = known.identity(item)
    (tmp_path / "photo0.png").write_bytes(b"depth")
    assert known.identity(item) != before == BatchSettings({}, GivenCamera()).identity(item)


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ("photo0.png", ("--part", "5"), "--part is of bags, and none"),
        ("photo0.png", ("--depth-topic", "/d"), "--depth-topic is of bags, and none"),
        ("photo0.png", ("--rectify", "true"), "--rectify is of bags, and none"),
        ("photo0.png", ("--frames", "5"), "--frames is of videos and bags, and none"),
        ("drive", ("--hfov", "60"), "--hfov is of images and videos, and none"),
        ("film.mp4", ("--sparse-depth", "."), "--sparse-depth is of images, and none"),
        ("drive", ("--align", "none"), "--align is of --depth-topic"),
        ("drive", ("--tolerance", "1"), "--tolerance is of --depth-topic"),
        ("photo0.png", ("--device", "cuda:1"), "--device cuda:1 is of one process"),
    ],
)
def test_an_option_that_no_input_takes_is_refused(
    inputs: Path, tmp_path: Path, given: str, options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert run(inputs / given, tmp_path / "out", *options) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_an_option_that_some_inputs_do_not_take_is_told(
    inputs: Path, tmp_path: Path, engines: list[InlineEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Path(str(inputs / "[pf]*")), tmp_path / "out", "--frames", "1") == 0
    assert "note: --frames is of videos and bags, and nothing to images" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "run.json").read_text())["model"]["device"] == "cpu"


def test_what_an_interrupted_run_has_half_made_goes_with_it(tmp_path: Path) -> None:
    with Place(Uri("file", str(tmp_path))) as place, suppress(KeyboardInterrupt), place.held():
        (tmp_path / ".staging" / "of_another").mkdir()
        raise KeyboardInterrupt
    assert not (tmp_path / ".staging").exists()


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
