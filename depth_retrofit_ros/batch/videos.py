"""A video's frames through the method, in order: what the commands ``video`` and ``batch`` do with a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from depth_retrofit_ros.batch.given_camera import GivenCamera
from depth_retrofit_ros.coarse.past import remembered_by
from depth_retrofit_ros.device.faults import fitting_into_memory
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.video_reader import VideoReader
from depth_retrofit_ros.retrofit import Retrofit

WARM_UP = 10
"""Frames before the first new one that are answered once more where frames are remembered, for there to be a memory."""


class AnsweredFrame(NamedTuple):
    """number: from 0, in the video; time_ms: since its first frame."""

    number: int
    time_ms: float
    frame: Frame
    result: DepthFrame


def remembers(retrofit: Retrofit) -> bool:
    """Whether an answer depends on the frames before it."""
    return retrofit.temporal is not None or remembered_by(retrofit.coarse) is not None


def answered_frames(reader: VideoReader, retrofit: Retrofit, given: GivenCamera, first: int = 0) -> Iterator[AnsweredFrame]:
    """Each frame from number ``first`` on. Raises DepthRetrofitError."""
    warm_from = first - WARM_UP if remembers(retrofit) else first
    for number, video_frame in enumerate(reader):
        if number < warm_from:
            continue
        height, width = video_frame.image.shape[:2]
        frame = Frame(video_frame.image, round(1e6 * video_frame.time_ms), camera=given.of(width, height))
        with fitting_into_memory(f"a frame of {reader.path} ({width}x{height})", "lower --budget, or scale the video down"):
            result = retrofit(frame)
        if number >= first:
            yield AnsweredFrame(number, video_frame.time_ms, frame, result)
