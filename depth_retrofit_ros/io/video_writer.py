"""Pictures as an MP4, in parts that are written one by one and joined without being encoded again, each frame at its time.

By OpenCV's FFmpeg alone, as VP9, which browsers play: no OpenCV that pip installs has an encoder for H.264, and what else it has
(MPEG-4 part 2) plays in no browser and cannot be joined.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from depth_retrofit_ros.errors import OutputError, SetupError
from depth_retrofit_ros.io.video_reader import for_ffmpeg, quiet_opencv

_PROBED = (64, 64)
_NEARLY_FULL = 1 << 20  # bytes
_MS_PER_S = 1000.0
_NEVER = (1 << 31) - 1  # frames
_ON_TIME = 0.25  # of a frame: how far one may be from its place in a video of constant rate; a file's times are rounded


CODEC = "VP9"
_FOURCC = cv2.VideoWriter.fourcc(*"vp09")  # its name in an MP4


def require_codec(folder: Path) -> None:
    """Try to write a video in ``folder``. Raises SetupError where this OpenCV cannot, OutputError where nobody can."""
    if not hasattr(cv2, "VIDEOWRITER_PROP_PTS"):
        raise SetupError(
            f"OpenCV {cv2.__version__} cannot write frames at their times: install opencv-python-headless 4.11 or newer"
        )
    trial = folder / "trial.mp4"
    try:
        writer = _writer(trial, _PROBED, 25.0)
        can_write = writer.isOpened()
        writer.release()
    finally:
        trial.unlink(missing_ok=True)
    if not can_write:
        _require_room(folder)
        raise SetupError(f"this OpenCV cannot write {CODEC}: install opencv-python-headless, whose FFmpeg can")


class PartWriter:
    """One part, pictures ``uint8 [H, W, 3]`` RGB of one even size (width, height)."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self.path = path
        self._count = 0
        self._writer = _writer(path, size, fps)
        if not self._writer.isOpened():
            raise _unwritable(path)

    def write(self, picture: np.ndarray) -> None:
        """The next frame."""
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._count += 1

    def finish(self) -> None:
        """Raises OutputError where not all of it came to lie on the disk, of which the encoder itself says nothing."""
        self._writer.release()
        if sum(1 for _ in _packets(self.path)) != self._count:
            raise _unwritable(self.path)
        _to_disk(self.path)

    def abandon(self) -> None:
        """Let go of the file, which stays as it is."""
        self._writer.release()


def join_parts(parts: Sequence[Path], times_ms: Sequence[float], path: Path, size: tuple[int, int], fps: float) -> None:
    """The parts' frames, one after the other, as they are encoded; times_ms: of each of them, increasing. Raises OutputError."""
    rate, ticks = ticks_of(times_ms, fps)
    # Which frames stand alone is told of each: by default all would count as such, and no browser could jump to one that does not.
    raw = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1, cv2.VIDEOWRITER_PROP_KEY_INTERVAL, _NEVER]
    writer = _writer(path, size, rate, raw)
    if not writer.isOpened():
        raise _unwritable(path)
    count = 0
    for part in parts:
        for data, is_key in _packets(part):
            if count < len(ticks):
                writer.set(cv2.VIDEOWRITER_PROP_PTS, ticks[count])
                writer.set(cv2.VIDEOWRITER_PROP_DTS_DELAY, count - ticks[count])  # decoded when shown: else they count by one
                writer.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, int(is_key))
                writer.write(data)
            count += 1
    writer.release()
    if count != len(ticks):
        raise OutputError(
            f"the parts in {path.parent} hold {count} frames and not {len(ticks)}: remove that folder and start again"
        )
    if sum(1 for _ in _packets(path)) != count:
        raise _unwritable(path)
    _to_disk(path)


def ticks_of(times_ms: Sequence[float], fps: float) -> tuple[float, list[int]]:
    """The clock [Hz] of a video and when its frames are shown by it, strictly increasing: at ``fps``, where all of them are on time
    by it, a lost one being a gap; else in milliseconds."""
    places = [fps * time_ms / _MS_PER_S for time_ms in times_ms]
    ticks = [round(place) for place in places]
    on_time = all(abs(place - tick) <= _ON_TIME for place, tick in zip(places, ticks, strict=True))
    if on_time and all(one < next_one for one, next_one in pairwise(ticks)):
        return fps, ticks
    ticks = []
    for time_ms in times_ms:
        ticks.append(max(round(time_ms), ticks[-1] + 1 if ticks else 0))
    return _MS_PER_S, ticks


def _writer(path: Path, size: tuple[int, int], fps: float, more: Sequence[int] = ()) -> cv2.VideoWriter:
    writer = cv2.VideoWriter()
    with quiet_opencv():
        writer.open(for_ffmpeg(path), cv2.CAP_FFMPEG, _FOURCC, fps, size, list(more))
    return writer


def _packets(path: Path) -> Iterator[tuple[np.ndarray, bool]]:
    """The frames as they are encoded, and whether each can be decoded without those before it."""
    with quiet_opencv():
        capture = cv2.VideoCapture(for_ffmpeg(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        while True:
            ok, data = capture.read()
            if not ok:
                return
            yield data, bool(capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))
    finally:
        capture.release()


def _to_disk(path: Path) -> None:
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a writable --out with free space") from None


def _require_room(folder: Path) -> None:
    if not os.access(folder, os.W_OK) or shutil.disk_usage(folder).free < _NEARLY_FULL:
        raise _unwritable(folder)


def _unwritable(path: Path) -> OutputError:
    """What the operating system told the encoder, as far as it can be found out afterwards."""
    folder = path if path.is_dir() else path.parent
    why = "the file is incomplete"
    if not os.access(folder, os.W_OK):
        why = os.strerror(errno.EACCES)
    elif shutil.disk_usage(folder).free < _NEARLY_FULL:
        why = os.strerror(errno.ENOSPC)
    return OutputError(f"cannot write {path} ({why}): choose a writable --out with free space")
