"""Videos read and written: times, turned pictures, what is damaged, and a disk that is full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.errors import ImageError, OutputError, SetupError
from depth_retrofit_ros.io import video_writer
from depth_retrofit_ros.io.video_reader import USUAL_FPS, VideoReader
from depth_retrofit_ros.io.video_writer import PartWriter, join_parts, require_codec, ticks_of
from test.videos import FPS, cut_off, damage, quarter_turn, scene, write_video


class Recorded:
    """A ``Capture`` whose file tells no times. None is a frame that cannot be decoded."""

    def __init__(self, frames: list[Any], properties: dict[int, float]) -> None:
        self.frames, self.properties = frames, properties
        self.now: Any = None

    def grab(self) -> bool:
        self.now = self.frames.pop(0) if self.frames else None
        return self.now is not None

    def retrieve(self) -> tuple[bool, Any]:
        return self.now.size > 0, self.now

    def get(self, propId: int, /) -> float:
        return self.properties.get(propId, 0.0)

    def release(self) -> None:
        """Nothing is held."""


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """A block in which no file grows beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "times_ms", [[0.0, 50.0, 100.0, 150.0, 200.0], [0.0, 33.0, 40.0, 140.0, 900.0], [0.0, 50.0, 200.0, 250.0, 400.0]]
)
def test_frames_come_back_at_their_times(tmp_path: Path, times_ms: list[float]) -> None:
    reader = VideoReader(write_video(tmp_path / "a.mp4", 5, times_ms=times_ms))
    frames = list(reader)
    assert [frame.time_ms for frame in frames] == pytest.approx(times_ms, abs=0.01)
    assert (reader.expected, reader.failed, reader.shortfall()) == (5, 0, None)
    for number, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - scene(number, 96, 72)).mean() < 6.0


def test_parts_are_joined_without_being_encoded_again(tmp_path: Path) -> None:
    parts = []
    for part in range(3):
        parts.append(tmp_path / f"{part}.mp4")
        writer = PartWriter(parts[-1], (64, 48), FPS)
        for number in range(part + 1):
            writer.write(np.full((48, 64, 3), 40 * (part + number), np.uint8))
        writer.finish()
    join_parts(parts, [50.0 * number for number in range(6)], tmp_path / "all.mp4", (64, 48), FPS)
    joined = [frame.image for frame in VideoReader(tmp_path / "all.mp4")]
    apart = [frame.image for part in parts for frame in VideoReader(part)]
    assert len(joined) == 6
    assert all(np.array_equal(one, other) for one, other in zip(joined, apart, strict=True))
    with pytest.raises(OutputError, match="hold 6 frames and not 5"):
        join_parts(parts, [50.0 * number for number in range(5)], tmp_path / "all.mp4", (64, 48), FPS)


def boxes(path: Path, name: bytes, width: int) -> list[tuple[int, ...]]:
    """The table of an MP4's box, in rows of ``width`` numbers."""
    data = path.read_bytes()
    at = data.index(name) + 8
    count = int.from_bytes(data[at : at + 4], "big")
    numbers = np.frombuffer(data, ">u4", count * width, at + 4).reshape(count, width)
    return [tuple(map(int, row)) for row in numbers]


def test_players_find_the_times_and_the_frames_that_stand_alone(tmp_path: Path) -> None:
    video = write_video(
        tmp_path / "a.mp4", 15, times_ms=[0.0, *(10.0 * 2.0**number for number in range(7)), *range(900, 1600, 100)]
    )
    assert b"ctts" not in video.read_bytes()  # frames are decoded when they are shown
    ticks = [ticks for count, ticks in boxes(video, b"stts", 2) for _ in range(count)]
    clock = int.from_bytes(video.read_bytes()[video.read_bytes().index(b"mdhd") + 16 :][:4], "big")
    assert [round(1000 * length / clock) for length in ticks[:14]] == [10, 10, 20, 40, 80, 160, 320, 260, *[100] * 6]
    alone = [number for (number,) in boxes(video, b"stss", 1)]
    assert alone[0] == 1 and 1 < len(alone) < 5


def test_the_clock_is_the_rate_where_all_are_on_time() -> None:
    ntsc = 30000 / 1001
    assert ticks_of([round(1000 * tick / ntsc, 2) for tick in (0, 1, 2, 5)], ntsc) == (ntsc, [0, 1, 2, 5])
    assert ticks_of([0.0, 33.4, 50.0], ntsc) == (1000.0, [0, 33, 50])
    assert ticks_of([0.0, 0.2, 0.3], 1000.0) == (1000.0, [0, 1, 2])


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    plain = next(iter(VideoReader(write_video(tmp_path / "a.mp4", 1)))).image
    turned = next(iter(VideoReader(quarter_turn(tmp_path / "a.mp4")))).image
    assert turned.shape == (96, 72, 3)
    assert np.array_equal(turned, np.rot90(plain, -1))


@pytest.mark.parametrize(
    ("shape", "turned", "width", "height"),
    [((2, 1), 0, 12, 4), ((1, 2), 0, 6, 8), ((2, 1), 90, 6, 8), ((0, 1), 0, 6, 4), ((99, 1), 0, 6, 4)],
)
def test_pixels_become_square(shape: tuple[int, int], turned: int, width: int, height: int) -> None:
    numbers = (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN, cv2.CAP_PROP_ORIENTATION_META)
    told = dict(zip(numbers, map(float, (*shape, turned)), strict=True))
    (frame,) = VideoReader(Path("a.avi"), Recorded([np.zeros((4, 6, 3), np.uint8)], told))
    assert frame.image.shape == (height, width, 3)


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = VideoReader(write_video(Path("2026-01-01T10:00:00.mp4"), 2))
    assert len(list(reader)) == 2 and reader.shortfall() is None


def test_lost_frames_are_counted_and_the_others_keep_their_times(tmp_path: Path) -> None:
    reader = VideoReader(damage(write_video(tmp_path / "a.mp4", 8), [3, 5]))
    assert [frame.time_ms for frame in reader] == pytest.approx([0.0, 50.0, 100.0, 200.0, 300.0, 350.0])
    assert (reader.decoded, reader.failed, reader.shortfall()) == (6, 2, None)


def test_a_file_that_ends_early_is_told(tmp_path: Path) -> None:
    reader = VideoReader(cut_off(write_video(tmp_path / "a.mp4", 8), 5))
    assert len(list(reader)) == 5
    assert "of 8 frames that it lists, 5 are in it" in (reader.shortfall() or "")


def test_a_file_without_times_or_rate_goes_on_evenly() -> None:
    image, empty = np.zeros((4, 6, 3), np.uint8), np.zeros((0, 0, 3), np.uint8)
    reader = VideoReader(Path("a.avi"), Recorded([image, image, None, empty, image], {cv2.CAP_PROP_FPS: float("nan")}))
    assert [frame.time_ms for frame in reader] == [0.0, 1000.0 / USUAL_FPS, 2000.0 / USUAL_FPS]
    assert (reader.failed, reader.expected, reader.shortfall()) == (2, None, None)


def test_a_file_that_lasts_longer_than_its_frames_is_told() -> None:
    told = {cv2.CAP_PROP_FPS: 10.0, cv2.CAP_PROP_FRAME_COUNT: 100.0}
    reader = VideoReader(Path("a.webm"), Recorded([np.zeros((4, 6, 3), np.uint8)] * 30, told))
    assert len(list(reader)) == 30
    assert reader.shortfall() == "a.webm says that it lasts 10.0 s, and its last frame ends at 3.0 s"


def test_what_is_no_video_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("hello" * 100)
    (tmp_path / "empty.mp4").touch()
    for name, told in (("none.mp4", "is not there"), ("", "is no file"), ("text.mp4", "is no video"), ("empty.mp4", "is no video")):
        with pytest.raises(ImageError, match=told):
            VideoReader(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_a_part_that_the_disk_has_no_room_for_is_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    writer = PartWriter(tmp_path / "a.mp4", (128, 96), FPS)
    with small_files(2000):
        for _ in range(4):
            writer.write(noise)
        with pytest.raises(OutputError, match=r"cannot write .*a\.mp4"):
            writer.finish()
    part = write_video(tmp_path / "c.mp4", 3)
    with small_files(100), pytest.raises(OutputError, match=r"cannot write .*b\.mp4"):
        join_parts([part], [0.0, 50.0, 100.0], tmp_path / "b.mp4", (96, 72), FPS)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        PartWriter(tmp_path / "none" / "a.mp4", (64, 48), FPS)


def test_an_opencv_that_cannot_write_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_codec(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(video_writer, "_FOURCC", cv2.VideoWriter.fourcc(*"none"))
    with pytest.raises(SetupError, match="cannot write VP9: install opencv-python-headless"):
        require_codec(tmp_path)
    monkeypatch.delattr(cv2, "VIDEOWRITER_PROP_PTS")
    with pytest.raises(SetupError, match=r"4\.11 or newer"):
        require_codec(tmp_path)
