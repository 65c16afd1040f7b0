"""``depth-retrofit video``: what is written, that a run goes on where it was left, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.batch import videos
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.cli import video_frames
from depth_retrofit_ros.cli.video_frames import Speed, duration
from depth_retrofit_ros.cli.video_parts import Parts
from depth_retrofit_ros.cli.video_pictures import RunningRange, even, fitted
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.depth_files import read_depth_png
from depth_retrofit_ros.io.video_reader import VideoReader
from depth_retrofit_ros.io.video_writer import PartWriter
from depth_retrofit_ros.retrofit import Retrofit
from test.videos import damage, write_video

SMALL = ["--model", "compact", "--device", "cpu", "--coarse-engine", "eager", "--hfov", "60", "--trust-scale"]
PART = 3


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_frames, "LENGTH", PART)


def command(video: Path, out: Path, *options: str) -> int:
    return cli.main(["video", str(video), "--out", str(out), *SMALL, *options])


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the command until so many frames were written, and Ctrl-C comes."""

    def run(video: Path, out: Path, frames: int, *options: str) -> None:
        left, write = [frames], PartWriter.write

        def until(writer: PartWriter, picture: np.ndarray) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            write(writer, picture)

        with monkeypatch.context() as patch:
            patch.setattr(PartWriter, "write", until)
            with pytest.raises(KeyboardInterrupt):
                command(video, out, *options)

    return run


def pictures(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in VideoReader(path)]


@pytest.mark.parametrize(
    ("layout", "width", "height"), [("side-by-side", 96 + 4 + 96, 72), ("depth", 96, 72), ("three", 3 * 96 + 2 * 4, 72)]
)
def test_a_video_in_each_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, width: int, height: int) -> None:
    times_ms = [0.0, 40.0, 130.0, 140.0]
    video, out = write_video(tmp_path / "in.mp4", 4, times_ms=times_ms), tmp_path / "made" / "out.mp4"
    assert command(video, out, "--layout", layout) == 0
    frames = list(VideoReader(out))
    assert [frame.time_ms for frame in frames] == pytest.approx(times_ms)
    assert {frame.image.shape for frame in frames} == {(height, width, 3)}
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]
    told = capsys.readouterr().out
    assert "4 frames read: 4 written; " in told
    assert "depth (m); its colors follow the scene slowly" in told


def test_an_odd_size_is_made_even(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert command(write_video(tmp_path / "in.mp4", 1), out, "--layout", "depth", "--panel-width", "47") == 0
    assert pictures(out)[0].shape == (36, 48, 3)  # of 47 x 35


def test_the_image_is_beside_its_depth(tmp_path: Path) -> None:
    video, out = write_video(tmp_path / "in.mp4", 2, 320, 240), tmp_path / "out.mp4"
    assert command(video, out, "--panel-width", "160") == 0
    (image, *_), (shown, *_) = pictures(video), pictures(out)
    assert shown.shape == (120, 324, 3)
    small = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(shown[40:, :160] - small[40:]).mean() < 8.0  # below the title
    assert np.abs(shown[40:, 164:] - small[40:]).mean() > 20.0


def test_an_interrupted_run_goes_on_and_nobody_sees_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interrupted: Callable[..., None]
) -> None:
    video, whole, out = write_video(tmp_path / "in.mp4", 8), tmp_path / "whole.mp4", tmp_path / "out.mp4"
    parts = tmp_path / "out.mp4.parts"
    assert command(video, whole, "--depth", str(tmp_path / "depth")) == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / "depth").iterdir()}
    shutil.rmtree(tmp_path / "depth")
    for frames, kept in ((5, 3), (3, 6)):
        interrupted(video, out, frames, "--depth", str(tmp_path / "depth"))
        assert f"{kept} frames are kept in {parts}: the same command goes on from there" in capsys.readouterr().out
        assert not out.exists()
    assert command(video, out, "--depth", str(tmp_path / "depth")) == 0
    told = capsys.readouterr().out
    assert f"going on: 6 frames are in {parts}" in told
    assert "8 frames read: 8 written, 6 of them by an earlier run; " in told
    assert out.read_bytes() == whole.read_bytes()
    assert {path.name: path.read_bytes() for path in (tmp_path / "depth").iterdir()} == expected
    assert not parts.exists()


def test_an_interruption_before_the_first_part_leaves_nothing(tmp_path: Path, interrupted: Callable[..., None]) -> None:
    interrupted(write_video(tmp_path / "in.mp4", 4), tmp_path / "made" / "out.mp4", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_with_a_memory_the_frames_before_are_answered_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: Callable[..., None]
) -> None:
    monkeypatch.setattr(videos, "WARM_UP", 2)
    video, out = write_video(tmp_path / "in.mp4", 6), tmp_path / "out.mp4"
    interrupted(video, out, 4, "--temporal", "on")
    answered: list[float] = []
    answer = Retrofit.__call__

    def note(method: Retrofit, frame: Frame) -> DepthFrame:
        assert frame.stamp_ns is not None
        answered.append(1e-6 * frame.stamp_ns)
        return answer(method, frame)

    monkeypatch.setattr(Retrofit, "__call__", note)
    assert command(video, out, "--temporal", "on") == 0
    assert answered == pytest.approx([50.0, 100.0, 150.0, 200.0, 250.0])
    assert len(pictures(out)) == 6


def test_what_another_run_left_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interrupted: Callable[..., None]
) -> None:
    video, out = write_video(tmp_path / "in.mp4", 5), tmp_path / "out.mp4"
    interrupted(video, out, 4)
    assert command(video, out, "--budget", "0.2") == 2
    assert "holds an interrupted run of another video or with other options" in capsys.readouterr().err
    assert command(video, out, "--budget", "0.2", "--overwrite") == 0
    assert "5 frames read: 5 written; " in capsys.readouterr().out


def test_a_seal_that_is_broken_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], interrupted: Callable[..., None]
) -> None:
    video, out = write_video(tmp_path / "in.mp4", 7), tmp_path / "out.mp4"
    interrupted(video, out, 6)
    (tmp_path / "out.mp4.parts" / "000001.json").write_text('{"number": 1')
    assert command(video, out) == 0
    assert "going on: 3 frames" in capsys.readouterr().out
    assert len(pictures(out)) == 7


def test_a_folder_in_the_way_and_a_run_at_work_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, parts = write_video(tmp_path / "in.mp4", 1), tmp_path / "out.mp4.parts"
    with Parts(tmp_path / "out.mp4", {}, False):
        assert command(video, tmp_path / "out.mp4") == 2
        assert "another run is at work" in capsys.readouterr().err
    parts.mkdir()
    (parts / "holiday.jpg").touch()
    assert command(video, tmp_path / "out.mp4", "--overwrite") == 2
    assert "is in the way" in capsys.readouterr().err
    assert (parts / "holiday.jpg").exists()


def test_lost_frames_are_told_and_the_sum_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, out = damage(write_video(tmp_path / "in.mp4", 5), [2]), tmp_path / "out.mp4"
    assert command(video, out) == 1
    assert "5 frames read: 4 written and 1 that could not be decoded; " in capsys.readouterr().out
    assert [frame.time_ms for frame in VideoReader(out)] == pytest.approx([0.0, 50.0, 150.0, 200.0])


def test_a_video_without_a_frame_is_told_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = damage(write_video(tmp_path / "in.mp4", 2), [0, 1])
    assert command(video, tmp_path / "made" / "out.mp4") == 2
    assert "has no frame that can be decoded" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_depth_of_every_frame_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, folder = write_video(tmp_path / "in.mp4", 2), tmp_path / "depth"
    assert command(video, tmp_path / "a.mp4", "--depth", str(folder)) == 0
    entries = json.loads((folder / "frames.json").read_text())
    assert [(entry["time_ms"], entry["metric"], entry["png_unit"]) for entry in entries] == [(0.0, True, 1e-3), (50.0, True, 1e-3)]
    depth = read_depth_png(folder / entries[1]["file"])
    assert depth.shape == (72, 96) and 0.1 < float(np.nanmedian(depth)) < 60.0
    (folder / "in_000009_depth.png").touch()
    (folder / "frames.json").write_text(json.dumps([*entries, {"file": "in_000009_depth.png"}, {"file": "../in.mp4"}]))
    assert command(video, tmp_path / "b.mp4", "--depth", str(folder)) == 2
    assert "holds an earlier run's depth" in capsys.readouterr().err
    assert command(video, tmp_path / "a.mp4", "--depth", str(folder), "--overwrite") == 0
    assert sorted(path.name for path in folder.iterdir()) == ["frames.json", *(entry["file"] for entry in entries)]
    assert video.exists()


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "in.mp4", 1)
    (tmp_path / "link.mp4").hardlink_to(video)
    (tmp_path / "there.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    for name, told in (
        ("out.avi", "is no .mp4 file"),
        ("in.mp4", "is the video itself"),
        ("link.mp4", "is the video itself"),
        ("there.mp4", "is there already: give --overwrite"),
        ("folder.mp4", "is a folder"),
        ("there.mp4/out.mp4", "cannot write"),
    ):
        assert command(video, tmp_path / name) == 2
        assert told in capsys.readouterr().err
    assert command(video, tmp_path / "out.mp4", "--panel-width", "5") == 2
    assert "--panel-width 5 shows nothing" in capsys.readouterr().err
    assert command(tmp_path / "there.mp4", tmp_path / "out.mp4") == 2
    assert "is no video" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.parts"))
    assert command(video, tmp_path / "out.mp4", "--depth", str(tmp_path / "out.mp4.parts" / "depth")) == 2
    assert "is where the parts of" in capsys.readouterr().err


def test_colors_follow_slowly_and_go_on() -> None:
    near, far = np.full((40, 50), 2.0, np.float32), np.full((40, 50), 8.0, np.float32)
    colors = RunningRange()
    assert colors.follow(np.full((4, 5), np.nan, np.float32), 0.0) is None
    assert colors.follow(near, 0.0) == pytest.approx((2.0, 2.0))
    first, _ = colors.follow(far, 50.0) or (0.0, 0.0)
    assert 2.0 < first < 2.2
    again = RunningRange(json.loads(json.dumps(colors.state)))
    assert again.follow(far, 5000.0) == colors.follow(far, 5000.0) == pytest.approx((8.0, 8.0), rel=0.02)
    assert colors.follow(np.full((4, 5), np.nan, np.float32), 5050.0) == colors.near_far


def test_pictures_are_even_and_of_one_size() -> None:
    image = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    assert even(image).shape == (4, 6, 3)
    assert np.array_equal(even(image)[:3, :5], image) and np.array_equal(even(image)[3], even(image)[2])
    assert fitted(image, (5, 3)) is image
    assert fitted(image, (8, 4)).shape == (4, 8, 3)


def test_progress_tells_rate_and_what_is_left() -> None:
    speed = Speed(10, 110)
    assert speed.told(11, 100.0) == "11 of 110 frames"
    assert speed.told(31, 110.0) == "31 of 110 frames, 2.00 a second, 40 s left"
    assert speed.told(111, 160.0).endswith(" 0 s left")
    assert Speed(0, None).told(1, 0.0) == "1 frames"
    unknown = Speed(0, None)
    unknown.told(1, 0.0)
    assert unknown.told(2, 0.5) == "2 frames, 2.00 a second"
    assert [duration(seconds) for seconds in (45.2, 725.0, 12000.0)] == ["45 s", "12 min 5 s", "3 h 20 min"]
