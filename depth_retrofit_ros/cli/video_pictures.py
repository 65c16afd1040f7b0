"""One frame of the resulting video: its panels side by side, in colors that stay while the video runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depth_retrofit_ros.io.color_map import colorize, depth_range
from depth_retrofit_ros.io.depth_files import side_by_side
from depth_retrofit_ros.upsampling.interpolation import upsample

if TYPE_CHECKING:
    from depth_retrofit_ros.frame import DepthFrame, Frame

SETTLING_MS = 1000.0


class RunningRange:
    """The depths of the warmest and the coldest color, which follow those of the frames (``depth_range``) slowly, in log depth: a
    step is followed by 63 % after ``SETTLING_MS`` of the video, so that a cut takes a second or two and noise is not seen.

    state: where an earlier run's stood.
    """

    def __init__(self, state: list[float] | None = None) -> None:
        self._state = state

    @property
    def state(self) -> list[float] | None:
        """ln near, ln far, and the time of the frame that told them last [ms]; None before one did."""
        return self._state

    @property
    def near_far(self) -> tuple[float, float] | None:
        """Depths of the warmest and the coldest color."""
        return None if self._state is None else (math.exp(self._state[0]), math.exp(self._state[1]))

    def follow(self, depth: np.ndarray, time_ms: float) -> tuple[float, float] | None:
        """``near_far`` for the frame of this depth ``float32 [H, W]`` and time; None where nothing was ever known."""
        found = depth_range(depth)
        if found is not None:
            near, far = (math.log(value) for value in found)
            if self._state is not None:
                weight = 1.0 - math.exp(-max(0.0, time_ms - self._state[2]) / SETTLING_MS)
                near, far = (old + weight * (new - old) for old, new in zip(self._state[:2], (near, far), strict=True))
            self._state = [near, far, time_ms]
        return self.near_far


def picture(
    frame: Frame, result: DepthFrame, panels: Sequence[str], width: int, near_far: tuple[float, float] | None
) -> np.ndarray:
    """``uint8 [h, w, 3]`` RGB of even size. panels: from left to right, of ``image``, ``coarse`` and ``depth``, each at most
    ``width`` px wide; one that stands alone has no title. near_far: of the colors, of all panels alike."""
    depth = result.depth.cpu().numpy()
    shown: list[tuple[str, np.ndarray]] = []
    for name in panels:
        if name == "image":
            shown.append((name, frame.image))
        elif name == "coarse":  # stretched, as a plain node would publish it
            coarse = upsample(result.coarse, depth.shape, "bilinear").cpu().numpy()
            shown.append((name, colorize(coarse, near_far)))
        else:
            shown.append((name, colorize(depth, near_far)))
    return even(side_by_side(shown, width) if len(shown) > 1 else narrowed(shown[0][1], width))


def narrowed(image: np.ndarray, width: int) -> np.ndarray:
    """At most ``width`` px wide."""
    height, whole = image.shape[:2]
    if whole <= width:
        return image
    size = width, max(1, round(height * width / whole))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def even(image: np.ndarray) -> np.ndarray:
    """With the last row and column once more where their number is odd, which no codec for browsers takes."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Of this (width, height): that of the first frame's picture, where the video changes its own on the way."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
