"""A camera of this machine (Video4Linux, by OpenCV), or a video file in its place: one image after the other."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.video_reader import VideoFrame, VideoReader, quiet_opencv

_TOO_LATE_S = 1.0
_PAUSE_S, _BUFFERS = 0.5, 4  # after a pause the images that wait in a driver's buffers are old; OpenCV has four at most
_TRIES, _PATIENCE_S = 3, 1.0  # one image may be damaged on its way; a camera that is unplugged fails at once, one that hangs late


@dataclass(frozen=True, slots=True)
class Asked:
    """Of a camera; None leaves it to its driver. size: (height, width); rate_hz: images per second; pixels: FourCC, as MJPG."""

    size: tuple[int, int] | None = None
    rate_hz: float | None = None
    pixels: str | None = None

    @property
    def told(self) -> str:
        """In words; empty where nothing was asked for."""
        size = "" if self.size is None else f"{self.size[1]}x{self.size[0]}"
        rate = "" if self.rate_hz is None else f"{self.rate_hz:g} Hz"
        return ", ".join(filter(None, (size, self.pixels, rate)))


@dataclass(frozen=True, slots=True)
class Given:
    """What a camera gives: in words, and the size of its images [px]."""

    told: str
    width: int
    height: int


class CameraSource(Protocol):
    """name: for people; encoding: of its images, as ROS calls it."""

    name: str
    encoding: str

    def open(self) -> Given:
        """Begin, or begin again. Raises ImageError, one line, where there is nothing to be had."""
        ...

    def read(self) -> np.ndarray | None:
        """The next image ``uint8 [H, W, 3]``, waited for; None where there is none any more, until it is opened again."""
        ...

    def interrupt(self) -> None:
        """From another thread: a ``read`` that waits for a file's next frame ends now, with None; one of a driver may not."""
        ...

    def close(self) -> None:
        """Let go of it. Not while another thread reads."""
        ...


def camera_source(text: str, asked: Asked) -> CameraSource:
    """text: a number N for ``/dev/videoN``, the path of a device, or a video file. Raises ImageError for what is neither.

    Size, rate and format of a file are its own: to ask for others is refused.
    """
    path = Path(f"/dev/video{text}") if text.isdecimal() else Path(text)
    if path.is_file():
        if asked.told:
            raise ImageError(
                f"{path} is a file, whose size, format and rate are its own: leave --camera-size, -format and -rate out"
            )
        return FileCamera(path)
    return V4l2Camera(path, asked)


class V4l2Camera:
    """See ``CameraSource``. capture: makes what reads the device; the images are the newest, as far as the driver lets them be.

    now_s: the monotonic clock [s]. What came while nobody read is dropped: the caller stamps an image as one that just came.
    """

    encoding = "bgr8"

    def __init__(
        self,
        path: Path,
        asked: Asked,
        capture: Callable[[Path], Any] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"camera {path}"
        self._path, self._asked = path, asked
        self._make = capture or _video4linux
        self._capture: Any = None
        self._now_s, self._read_s = now_s, 0.0

    def open(self) -> Given:
        """See ``CameraSource``; the size is that of a first image."""
        self.close()
        self._capture = capture = self._make(self._path)
        asked = self._asked
        wishes: list[tuple[int, float]] = [(cv2.CAP_PROP_BUFFERSIZE, 1)]
        if asked.pixels is not None:  # first: sizes and rates depend on it
            wishes.append((cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.pixels)))
        if asked.size is not None:
            wishes += [(cv2.CAP_PROP_FRAME_WIDTH, asked.size[1]), (cv2.CAP_PROP_FRAME_HEIGHT, asked.size[0])]
        if asked.rate_hz is not None:
            wishes.append((cv2.CAP_PROP_FPS, asked.rate_hz))
        for wish, value in wishes:
            capture.set(wish, value)
        first = self._next()
        if first is None:
            self.close()
            raise ImageError(f"{self.name} gives no image: another program may use it, or it takes no such size or format")
        return Given(self._told(first, capture), first.shape[1], first.shape[0])

    def _told(self, image: np.ndarray, capture: Any) -> str:
        rate_hz, pixels = capture.get(cv2.CAP_PROP_FPS), _word(capture.get(cv2.CAP_PROP_FOURCC))
        given = f"{image.shape[1]}x{image.shape[0]}{f' {pixels}' if pixels else ''}"
        given += f" at {rate_hz:g} Hz" if rate_hz > 0 else ", its rate unknown"
        return f"{self.name}: {given}" + (f" (asked for: {self._asked.told})" if self._asked.told else "")

    def read(self) -> np.ndarray | None:
        """See ``CameraSource``."""
        if self._capture is not None and self._now_s() - self._read_s > _PAUSE_S:
            for _ in range(_BUFFERS):
                if not self._capture.grab():
                    break
        return self._next()

    def _next(self) -> np.ndarray | None:
        """Whatever the driver gives next."""
        image = self._tried()
        self._read_s = self._now_s()
        return image

    def _tried(self) -> np.ndarray | None:
        capture, since_s = self._capture, self._now_s()
        for _ in range(_TRIES):
            if capture is None or self._now_s() - since_s > _PATIENCE_S:
                return None
            try:
                ok, image = capture.read()
            except cv2.error:
                continue
            if ok and image is not None and image.ndim == 3 and image.size:
                return np.ascontiguousarray(image)
        return None

    def interrupt(self) -> None:
        """See ``CameraSource``: a driver is what it waits for."""

    def close(self) -> None:
        """See ``CameraSource``."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


class FileCamera:
    """See ``CameraSource``: the frames of a video at their times, again and again; the last one as long as its rate says."""

    encoding = "rgb8"

    def __init__(self, path: Path) -> None:
        self.name = f"video {path}"
        self._path = path
        self._interrupted = threading.Event()
        self._frames: Iterator[VideoFrame] = iter(())
        self._began_s = self._ends_s = 0.0  # of the round; the latter: of its newest frame
        self._lasts_s = 0.0  # a frame

    def open(self) -> Given:
        """See ``CameraSource``; from the beginning."""
        reader = VideoReader(self._path)
        frames = iter(reader)
        first = next(frames, None)
        if first is None:
            raise ImageError(f"{self._path} has no frame that can be decoded")
        self._frames, self._lasts_s = chain((first,), frames), 1.0 / reader.fps
        self._began_s = max(self._ends_s, time.monotonic())
        height, width = first.image.shape[:2]
        return Given(f"{self.name}: {width}x{height} at {reader.fps:g} Hz, again and again", width, height)

    def read(self) -> np.ndarray | None:
        """See ``CameraSource``."""
        frame = next(self._frames, None)
        if frame is None:
            with suppress(ImageError):
                self.open()
                frame = next(self._frames, None)
        if frame is None:
            return None
        due_s = self._began_s + 1e-3 * frame.time_ms
        self._ends_s = due_s + self._lasts_s
        late_s = time.monotonic() - due_s
        if late_s > _TOO_LATE_S:  # it cannot be read that fast, or the machine slept: it goes on from here
            self._began_s += late_s
        elif self._interrupted.wait(max(0.0, -late_s)):
            return None
        return frame.image

    def interrupt(self) -> None:
        """See ``CameraSource``."""
        self._interrupted.set()

    def close(self) -> None:
        """See ``CameraSource``."""
        self._frames = iter(())


def _video4linux(path: Path) -> cv2.VideoCapture:
    """Raises ImageError, one line, for what cannot be opened."""
    if not path.exists():
        others = sorted(str(other) for other in Path("/dev").glob("video*"))
        there = f"there is {', '.join(others)}" if others else "plug one in, or give a container --device"
        raise ImageError(f"camera {path} is not there: {there}")
    if not stat.S_ISCHR(path.stat().st_mode):
        raise ImageError(f"camera {path} is no device: give its number, such as 0, its path in /dev, or a video file")
    if not os.access(path, os.R_OK | os.W_OK):
        raise ImageError(f"camera {path} cannot be opened: permission denied, become a member of the group video")
    with quiet_opencv():
        capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise ImageError(f"camera {path} cannot be opened: another program may use it, or it is no camera (try the next number)")
    return capture


def _word(fourcc: float) -> str:
    """``MJPG`` of its number; empty for what is none."""
    text = int(fourcc).to_bytes(4, "little").decode("ascii", "replace") if 0 < fourcc < 1 << 32 else ""
    return text if text.isprintable() and text.isascii() else ""
