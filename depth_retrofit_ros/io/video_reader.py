"""Frames of a video file with their times, by OpenCV's FFmpeg: as they are meant to be seen, and what is lost is counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from depth_retrofit_ros.errors import ImageError

USUAL_FPS = 25.0  # of a file that does not say
_FASTEST_FPS = 1000.0
_GIVE_UP = 200  # frames in a row that cannot be decoded: the end, or what comes to the same
_SHORT_MS = 1000.0  # a file may well last so much longer than its pictures, because of its sound
_ENOUGH = 0.95
_NEARLY_SQUARE = 0.01  # pixels count as such: what encoders round is no reason to blur an image
_MOST_STRETCHED = 4.0  # a shape beyond that is a mistake of the file
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


class Capture(Protocol):
    """What is needed of ``cv2.VideoCapture``."""

    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def get(self, propId: int, /) -> float: ...
    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """image: ``uint8 [H, W, 3]`` RGB, upright, of square pixels; time_ms: since the first frame, later than that of the one
    before."""

    image: np.ndarray
    time_ms: float


class VideoReader:
    """The frames of a file, in order, once. failed: how many could not be decoded so far, in front of one that could.

    expected: how many frames there are, about, by the file's own word; None where it says nothing. fps: nominal. capture: in place
    of the file's own. Raises ImageError, one line, where it is no video that can be read.
    """

    def __init__(self, path: Path, capture: Capture | None = None) -> None:
        self.path = path
        self.failed = self.decoded = 0
        self._capture = capture or _opened(path)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0.0 < fps <= _FASTEST_FPS else USUAL_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.expected = round(count) if 0 < count < 1e9 else None
        self._stretch = _stretch(self._capture)
        self._first_ms: float | None = None
        self._time_ms = 0.0

    def __iter__(self) -> Iterator[VideoFrame]:
        misses = 0
        while misses < _GIVE_UP:
            pixels = self._next()
            if pixels is None:
                misses += 1
                continue
            self.failed, misses = self.failed + misses, 0
            time_ms = self._told_ms()
            self.decoded += 1
            yield VideoFrame(cv2.cvtColor(self._square(pixels), cv2.COLOR_BGR2RGB), time_ms)

    def _next(self) -> np.ndarray | None:
        if not self._capture.grab():
            return None
        ok, pixels = self._capture.retrieve()
        return np.asarray(pixels) if ok and pixels is not None and pixels.size else None

    def _square(self, pixels: np.ndarray) -> np.ndarray:
        """Of square pixels: no camera model of ours knows others."""
        x, y = self._stretch
        if x == y:
            return pixels
        size = round(x * pixels.shape[1]), round(y * pixels.shape[0])
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR))

    def _told_ms(self) -> float:
        """Of the frame that was just taken; where the file tells no time after the last one's, one nominal frame after it."""
        time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        if self._first_ms is None:
            self._first_ms, self._time_ms = time_ms, 0.0
            return 0.0
        since_ms = time_ms - self._first_ms
        self._time_ms = since_ms if since_ms > self._time_ms else self._time_ms + 1000.0 / self.fps
        return self._time_ms

    def shortfall(self) -> str | None:
        """What the file promises and does not hold, after its last frame; None where nothing is missing.

        Frames that an MP4 hides by an edit list (those before a cut) are promised by none.
        """
        if self.expected is None:
            return None
        if _is_mp4(self.path):
            missing = self.expected - self.decoded - self.failed
            if missing <= 0 or (held := _packets(self.path)) + self.failed >= self.expected:
                return None
            return f"{self.path} is cut off or damaged: of {self.expected} frames that it lists, {held} are in it"
        lasts_ms, ends_ms = 1000.0 * self.expected / self.fps, self._time_ms + 1000.0 / self.fps
        if ends_ms > min(lasts_ms - _SHORT_MS, _ENOUGH * lasts_ms):
            return None
        return f"{self.path} says that it lasts {lasts_ms / 1000:.1f} s, and its last frame ends at {ends_ms / 1000:.1f} s"

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """A block in which OpenCV and its FFmpeg say nothing of their own: a failure is told in one line of ours."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; looked at when the first file is opened
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)


def for_ffmpeg(path: Path) -> str:
    """Its absolute name: of a relative one FFmpeg takes what is before a colon, as in a time of day, for a protocol."""
    return str(path.absolute())


def _stretch(capture: Capture) -> tuple[float, float]:
    """By how much its images, turned upright, are to be stretched in x and y for their pixels to be square; never shrunk."""
    across, down = (capture.get(which) for which in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    shape = across / down if across > 0 and down > 0 else 1.0  # 0: the file does not say
    if not 1 / _MOST_STRETCHED <= shape <= _MOST_STRETCHED or abs(shape - 1.0) < _NEARLY_SQUARE:
        return 1.0, 1.0
    if round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90:
        shape = 1.0 / shape
    return max(1.0, shape), max(1.0, 1.0 / shape)


def _opened(path: Path) -> cv2.VideoCapture:
    """Turned as its metadata says."""
    if not path.exists():
        raise ImageError(f"{path} is not there: give a video file")
    if not path.is_file():
        raise ImageError(f"{path} is no file: give a video, such as an MP4")
    if not os.access(path, os.R_OK):
        raise ImageError(f"{path} cannot be read: permission denied")
    with quiet_opencv():
        capture = cv2.VideoCapture(for_ffmpeg(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ImageError(f"{path} is no video that OpenCV's FFmpeg can read: give an MP4, MOV, MKV, WebM or AVI")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _is_mp4(path: Path) -> bool:
    """Whether the file lists its frames one by one, so that their number is exact."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] in _MP4_BOXES
    except OSError:
        return False


def _packets(path: Path) -> int:
    """How many frames are in the file, decoded or not."""
    with quiet_opencv():
        packets = cv2.VideoCapture(for_ffmpeg(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    count = misses = 0
    while misses < _GIVE_UP:
        count, misses = (count + 1, 0) if packets.grab() else (count, misses + 1)
    packets.release()
    return count
