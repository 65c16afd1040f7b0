"""A camera of this machine: what is asked of its driver, what is told of it, and a video in its place. No camera is needed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.camera_capture import Asked, FileCamera, V4l2Camera, camera_source
from test.videos import FPS, write_video

DEVICE = Path("/dev/video7")


class Driver:
    """A ``cv2.VideoCapture`` that gives 64x48 at 30 Hz, whatever it is asked for. None is a read that fails."""

    def __init__(self, *reads: Any) -> None:
        self.reads = list(reads)
        self.wishes: list[tuple[int, float]] = []
        self.released = False

    def set(self, wish: int, value: float) -> bool:
        self.wishes.append((wish, value))
        return False

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV"))}.get(what, 0.0)

    def read(self) -> tuple[bool, Any]:
        image = self.reads.pop(0) if self.reads else None
        if isinstance(image, Exception):
            raise image
        return image is not None, image

    def grab(self) -> bool:
        return bool(self.reads) and self.reads.pop(0) is not None

    def release(self) -> None:
        self.released = True


def picture(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


def test_what_the_driver_gave_is_told_with_what_was_asked_for() -> None:
    driver = Driver(picture(0), picture(1), None, cv2.error("a damaged JPEG"), picture(2))
    camera = V4l2Camera(DEVICE, Asked((1080, 1920), 60.0, "MJPG"), lambda path: driver, lambda: 0.0)
    given = camera.open()
    assert given.told == f"camera {DEVICE}: 64x48 YUYV at 30 Hz (asked for: 1920x1080, MJPG, 60 Hz)"
    assert (given.width, given.height) == (64, 48)
    assert driver.wishes[1:] == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1920),
        (cv2.CAP_PROP_FRAME_HEIGHT, 1080),
        (cv2.CAP_PROP_FPS, 60.0),
    ]
    first, second = camera.read(), camera.read()
    assert first is not None and second is not None and (first[0, 0, 0], second[0, 0, 0]) == (1, 2)
    assert camera.read() is None
    camera.close()
    assert driver.released and camera.read() is None


def test_nothing_is_asked_for_where_nobody_asks() -> None:
    driver = Driver(picture(1))
    assert V4l2Camera(DEVICE, Asked(), lambda path: driver).open().told == f"camera {DEVICE}: 64x48 YUYV at 30 Hz"
    assert [wish for wish, _ in driver.wishes] == [cv2.CAP_PROP_BUFFERSIZE]


def test_what_came_while_nobody_read_is_old_and_dropped() -> None:
    now_s = [0.0]
    camera = V4l2Camera(DEVICE, Asked(), lambda path: Driver(*map(picture, range(12))), lambda: now_s[0])
    camera.open()  # 0
    now_s[0] = 9.0  # the model was loaded meanwhile
    images = [camera.read() for _ in range(2)]
    now_s[0] += 0.2  # a slow camera is none that nobody reads
    images += [camera.read()]
    assert [None if image is None else image[0, 0, 0] for image in images] == [5, 6, 7]


def test_a_camera_that_gives_nothing_is_told_and_let_go() -> None:
    for broken in (None, cv2.error("a damaged JPEG"), np.zeros((0, 0, 3), np.uint8)):
        driver = Driver(*[broken] * 3)
        with pytest.raises(ImageError, match="gives no image"):
            V4l2Camera(DEVICE, Asked(), lambda path, made=driver: made).open()  # type: ignore[misc]
        assert driver.released


def test_no_camera_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="camera /dev/video99 is not there: "):
        camera_source("99", Asked()).open()
    with pytest.raises(ImageError, match="is no device: give its number"):
        camera_source(str(tmp_path), Asked()).open()
    monkeypatch.setattr(os, "access", lambda *asked: False)
    with pytest.raises(ImageError, match="permission denied, become a member of the group video"):
        camera_source("/dev/null", Asked()).open()
    monkeypatch.undo()
    with pytest.raises(ImageError, match="another program may use it"):
        camera_source("/dev/null", Asked()).open()


def test_a_video_in_its_place_begins_again(tmp_path: Path) -> None:
    source = camera_source(str(write_video(tmp_path / "a.mp4", 3, times_ms=[0.0, 5.0, 10.0])), Asked())
    told = source.open().told
    assert ": 96x72 at " in told and told.endswith(" Hz, again and again")
    images = [source.read() for _ in range(7)]
    assert all(image is not None for image in images)
    assert np.array_equal(images[0], images[3]) and np.array_equal(images[0], images[6])  # type: ignore[arg-type]
    assert not np.array_equal(images[0], images[1])  # type: ignore[arg-type]


def test_the_last_frame_of_a_video_in_its_place_lasts_as_long_as_the_others(tmp_path: Path) -> None:
    """One of a single frame would otherwise come as fast as the file can be opened."""
    source = FileCamera(write_video(tmp_path / "a.mp4", 1))
    source.open()
    began_s = time.monotonic()
    assert all(source.read() is not None for _ in range(5))
    assert time.monotonic() - began_s >= 4 / FPS


def test_a_video_in_its_place_ends_with_its_reader_where_it_begins_again_too(tmp_path: Path) -> None:
    source = FileCamera(write_video(tmp_path / "a.mp4", 1))
    source.open()
    assert source.read() is not None
    source.interrupt()
    assert source.read() is None


def test_a_video_in_its_place_ends_with_its_reader(tmp_path: Path) -> None:
    source = FileCamera(write_video(tmp_path / "a.mp4", 2, times_ms=[0.0, 3_600_000.0]))
    source.open()
    assert source.read() is not None
    source.interrupt()
    assert source.read() is None  # at once, and not in an hour
    source.close()
    with pytest.raises(ImageError, match="whose size, format and rate are its own"):
        camera_source(str(tmp_path / "a.mp4"), Asked(rate_hz=5.0))
