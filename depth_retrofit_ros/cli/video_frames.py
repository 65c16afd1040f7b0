"""A video's frames, each answered once and in order, as parts of the resulting video."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.batch.videos import answered_frames
from depth_retrofit_ros.cli.video_parts import LENGTH, Part, Parts
from depth_retrofit_ros.cli.video_pictures import RunningRange, fitted, picture
from depth_retrofit_ros.io.video_writer import PartWriter

if TYPE_CHECKING:
    from depth_retrofit_ros.batch.given_camera import GivenCamera
    from depth_retrofit_ros.cli.progress import Progress
    from depth_retrofit_ros.cli.video_depth import DepthFolder
    from depth_retrofit_ros.frame import DepthFrame, Frame
    from depth_retrofit_ros.io.video_reader import VideoReader
    from depth_retrofit_ros.retrofit import Retrofit


def answer_frames(
    reader: VideoReader,
    parts: Parts,
    retrofit: Retrofit,
    given: GivenCamera,
    panels: Sequence[str],
    panel_width: int,
    depth: DepthFolder | None,
    progress: Progress,
) -> tuple[float, float] | None:
    """Go on after the ``parts`` that are done until the video ends. Returns the colors' last range.

    given: the camera; panels, panel_width: see ``picture``; depth: where the depth goes, too. Raises
    DepthRetrofitError; parts that are sealed by then stay.
    """
    done = parts.frames
    making = _PartInWork(parts, reader.fps, depth)
    speed = Speed(done, reader.expected)
    try:
        for number, time_ms, frame, result in answered_frames(reader, retrofit, given, done):
            making.add(number, time_ms, frame, result, panels, panel_width)
            progress.show(speed.told(number + 1, time.monotonic()))
        making.seal()
    finally:
        making.abandon()
    return making.colors.near_far


class _PartInWork:
    """The part that is being written, and the next one after it is sealed."""

    def __init__(self, parts: Parts, fps: float, depth: DepthFolder | None) -> None:
        before = parts.done[-1] if parts.done else None
        self.colors = RunningRange(None if before is None else before.colors)
        self._size = None if before is None else before.size
        self._parts, self._fps, self._depth = parts, fps, depth
        self._writer: PartWriter | None = None
        self._begin()

    def _begin(self) -> None:
        self._writer = None
        self._times_ms: list[float] = []
        self._told: list[dict[str, Any]] = []
        self._refined = 0
        self._metric = False

    def add(self, number: int, time_ms: float, frame: Frame, result: DepthFrame, panels: Sequence[str], panel_width: int) -> None:
        """The next frame; number: from 0, in the video."""
        depth = result.depth.cpu().numpy()
        shown = picture(frame, result, panels, panel_width, self.colors.follow(depth, time_ms))
        self._size = self._size or (shown.shape[1], shown.shape[0])
        if self._writer is None:
            self._writer = PartWriter(self._parts.path(len(self._parts.done)), self._size, self._fps)
        self._writer.write(fitted(shown, self._size))
        if self._depth is not None:
            self._told.append(self._depth.write(number, time_ms, depth, result.metric))
        self._times_ms.append(time_ms)
        self._refined += result.refined_pixels
        self._metric = result.metric
        if len(self._times_ms) == LENGTH:
            self.seal()

    def seal(self) -> None:
        """The part is complete, if there is one."""
        if self._writer is None or self._size is None:
            return
        self._writer.finish()
        number, state = len(self._parts.done), self.colors.state
        colors = None if state is None else list(state)
        self._parts.seal(Part(number, self._times_ms, self._size, colors, self._metric, self._refined, self._told))
        self._begin()

    def abandon(self) -> None:
        """What is not sealed will be made again."""
        if self._writer is not None:
            self._writer.abandon()


class Speed:
    """How far a run is, in words. before: frames that were done when it began; expected: of all, where somebody knows."""

    def __init__(self, before: int, expected: int | None) -> None:
        self._before, self._expected = before, expected
        self._first: tuple[int, float] | None = None

    def told(self, done: int, now_s: float) -> str:
        """done: frames so far; now_s: of a steady clock. The rate is that since the first answer, which waits for compilers."""
        if self._first is None:
            self._first = done, now_s
        of_all = "" if self._expected is None else f" of {max(self._expected, done)}"
        frames, seconds = done - self._first[0], now_s - self._first[1]
        if frames == 0 or seconds <= 0.0:
            return f"{done}{of_all} frames"
        rate = frames / seconds
        if self._expected is None:
            return f"{done} frames, {rate:.2f} a second"
        return f"{done}{of_all} frames, {rate:.2f} a second, {duration(max(0, self._expected - done) / rate)} left"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min 5 s``, ``3 h 20 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
