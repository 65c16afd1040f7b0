"""Each stage of the way from an image message to depth and cloud messages, alone, on a rendered frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from depth_retrofit_ros.bench.timing import figures, repeat
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.color_map import colorize
from depth_retrofit_ros.io.raw_depth import fill_millimeters
from depth_retrofit_ros.pointcloud.organized import cloud_size, fill_cloud
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.messages.images import decode
from depth_retrofit_ros.ros.messages.outgoing import CloudMessage, ImageMessage
from depth_retrofit_ros.ros.replay.sources import sample_messages
from depth_retrofit_ros.training.scenes.video import scene_video

BUDGETS = (0.02, 0.05, 0.1, 0.2)
SCENE = 10  # the seed; a scene that no checkpoint was trained on
HFOV_DEG = 70.0

Entry = dict[str, Any]


def rendered_frame(size: tuple[int, int]) -> Frame:
    """A frame of ``size = (H, W)``. Rendered with 720 rows, and enlarged: speed does not depend on texture."""
    height, width = min(size[0], 720), min(size[1], round(720 * size[1] / size[0]))
    view = next(scene_video(SCENE, width, height, 1, HFOV_DEG))
    image = cv2.resize(view.image, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return Frame(np.ascontiguousarray(image), camera=Camera.from_hfov(size[1], size[0], HFOV_DEG))


def measure_method(
    retrofit: Retrofit, frame: Frame, budget: float, rounds: int, use: Callable[[DepthFrame], object] = lambda result: None
) -> Entry:
    """The whole ``Retrofit`` and its stages, by its own clock, with this budget. use: of each result; counts to the whole."""
    retrofit.budget = budget
    stages: dict[str, list[float]] = {}

    def run() -> None:
        result = retrofit(frame)
        use(result)
        for stage, time_ms in result.times_ms.items():
            stages.setdefault(stage, []).append(time_ms)

    whole = repeat(run, rounds)
    return {"total": figures(whole), **{stage: figures(times[1:]) for stage, times in stages.items()}}


def measure_messages(frame: Frame, depth: np.ndarray, rounds: int, memcpy_gbps: float) -> dict[str, Entry]:
    """Decoding and filling, each with the bytes that it must write and what a plain copy of these takes (``floor_ms``)."""
    height, width = depth.shape
    camera = frame.camera
    assert camera is not None
    raw, compressed = sample_messages(frame.image)
    header = raw.header
    meters, millimeters = ImageMessage("32FC1", np.float32, 1), ImageMessage("16UC1", np.uint16, 1)
    preview, cloud = ImageMessage("rgb8", np.uint8, 3), CloudMessage()

    def fill(stride: int) -> Callable[[], None]:
        return lambda: fill_cloud(depth, frame.image, camera, cloud.prepare(*cloud_size(height, width, stride), header), stride)

    pixels = height * width
    works: dict[str, tuple[Callable[[], object], int]] = {
        "decode_rgb8": (lambda: decode(raw), 0),  # a view of the message
        "decode_jpeg": (lambda: decode(compressed), 3 * pixels),
        "depth_message": (lambda: np.copyto(meters.prepare(height, width, header), depth), 4 * pixels),
        "millimetres_message": (lambda: fill_millimeters(depth, millimeters.prepare(height, width, header)), 2 * pixels),
        "preview_message": (lambda: colorize(depth, out=preview.prepare(height, width, header)), 3 * pixels),
        "cloud_stride_2": (fill(2), 16 * pixels // 4),
        "cloud_stride_1": (fill(1), 16 * pixels),
    }
    return {
        name: {**figures(repeat(work, rounds)), "bytes": size, "floor_ms": size / memcpy_gbps / 1e6}
        for name, (work, size) in works.items()
    }
