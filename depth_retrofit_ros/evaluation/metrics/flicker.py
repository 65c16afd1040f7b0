"""Temporal flicker: how much the depth of pixels changes that show the same surface in two consecutive frames.

Measures of consistency by optical flow (OPW; Wang et al. 2023, arXiv 2307.08695) warp one depth map onto the next. Where nothing
moves the warp is the identity, and what remains is the change of depth itself: restricted to such pixels it needs neither flow nor
poses, which have errors of their own. Changes are those of ln d: as large at 1 m as at 10 m, and the same in any unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import both_known

COLOR_STEP = 8.0  # of 255: twice the noise of a camera's JPEG after the blur
BLUR_PX = 5  # the blur takes noise away; the same window around a static pixel must be static too
DEPTH_RATIO = 1.03  # the noise of a stereo depth camera at a few metres stays below it
MIN_SHARE = 0.05  # with less of the frame static, the camera moved or the scene was cut, and what matches does so by chance

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class View:
    """One frame: image ``uint8 [H, W, 3]``; reference: sensor depth ``float32 [H, W]``, NaN unknown, or None; maps: depth
    ``float32 [H, W]`` by method; selected: the refined pixels, bool [H, W]. All of one size.
    """

    image: np.ndarray
    reference: np.ndarray | None
    maps: Mapping[str, np.ndarray]
    selected: np.ndarray


@dataclass(frozen=True, slots=True)
class Flicker:
    """Between two consecutive frames: the share of static pixels; by method, changes over them as ``changes`` gives them, over all
    and over those that were refined in either frame.
    """

    static_share: float
    static: dict[str, Figures]
    refined: dict[str, Figures]


def flicker(before: View, after: View) -> Flicker | None:
    """None where less than ``MIN_SHARE`` of the frame is static, or its size changed."""
    if before.image.shape != after.image.shape:
        return None
    static = static_pixels(before, after)
    share = float(static.mean())
    if share < MIN_SHARE:
        return None
    refined = static & (before.selected | after.selected)
    pairs = {name: (before.maps[name], after.maps[name]) for name in after.maps}
    return Flicker(
        share,
        {name: changes(*pair, static) for name, pair in pairs.items()},
        {name: changes(*pair, refined) for name, pair in pairs.items()},
    )


def static_pixels(before: View, after: View) -> np.ndarray:
    """bool [H, W]: neither colour nor, where both frames know it, sensor depth changed in the window around the pixel.

    Colour: the largest difference of the blurred channels is at most ``COLOR_STEP``. Sensor depth: the ratio is at most
    ``DEPTH_RATIO``; it is what tells a moving surface without texture from a resting one.
    """
    blurred = [cv2.blur(view.image, (BLUR_PX, BLUR_PX)) for view in (before, after)]
    same = cv2.absdiff(blurred[0], blurred[1]).max(axis=2) <= COLOR_STEP
    if before.reference is not None and after.reference is not None:
        known = both_known(before.reference, after.reference)
        change = np.abs(np.log(after.reference[known] / before.reference[known]))
        same[known] &= change <= np.float32(np.log(DEPTH_RATIO))
    window = np.ones((BLUR_PX, BLUR_PX), np.uint8)
    return np.asarray(cv2.erode(same.astype(np.uint8), window), bool)


def changes(before: np.ndarray, after: np.ndarray, where: np.ndarray) -> Figures:
    """Of Δ ln d over the pixels that are known in both frames (maps [H, W]) and picked by ``where``; NaN without any.

    ``median`` and ``p95`` of |Δ|; ``drift``: |median of Δ|, the part that all share because the whole map grew or shrank.
    """
    known = both_known(before, after) & where
    if not known.any():
        return dict.fromkeys(("median", "p95", "drift"), float("nan"))
    change = np.log(after[known] / before[known])
    median, high = np.percentile(np.abs(change), (50, 95))
    return {"median": float(median), "p95": float(high), "drift": float(np.abs(np.median(change)))}
