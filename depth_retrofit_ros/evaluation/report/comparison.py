"""A picture of what refinement gains over stretching the same coarse map."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import median_scale
from depth_retrofit_ros.io.color_map import colorize, depth_range
from depth_retrofit_ros.io.depth_files import side_by_side

Window = tuple[slice, slice]  # rows and columns
SHARE = 0.16  # of each side, of the place that is shown magnified
FULL_ERROR = float(np.log(1.5))  # |ln ratio| above which a pixel counts no more: what is far off may be the reference


def picture(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    reference: np.ndarray | None,
    panel_width: int,
    window: Window | None = None,
) -> np.ndarray:
    """RGB: input, nearest, refined and, where known, the reference; below, magnified, a place in them.

    maps: ``nearest``, ``bilinear`` (as a smooth measure of change) and ``refined`` depth, [H, W] each. window: that place, None for
    the one that refinement changed most. Colours span the depths of the row that they are in; in each row the reference is scaled
    to the median of the refined depth there.
    """
    refined = maps["refined"]
    everywhere, window = (slice(None), slice(None)), window or most_changed(maps["bilinear"], refined)
    rows = [
        _panels(image[part], maps["nearest"][part], refined[part], None if reference is None else reference[part])
        for part in (everywhere, window)
    ]
    above, crops = side_by_side(rows[0], panel_width), rows[1]
    width = (above.shape[1] - 4 * (len(crops) - 1)) // len(crops)
    height = max(1, round(width * crops[0][1].shape[0] / crops[0][1].shape[1]))
    enlarged = [("", cv2.resize(crop, (width, height), interpolation=cv2.INTER_NEAREST)) for _, crop in crops]
    gap = np.full((4, above.shape[1], 3), 255, np.uint8)
    return np.concatenate((above, gap, side_by_side(enlarged, width)), axis=0)


def _panels(
    image: np.ndarray, nearest: np.ndarray, refined: np.ndarray, reference: np.ndarray | None
) -> list[tuple[str, np.ndarray]]:
    """The image and the depth maps in one range of colours, which spans refined and reference."""
    maps = {"coarse, nearest": nearest, "refined": refined}
    if reference is not None:
        maps["reference, median-scaled"] = reference / np.float32(median_scale(refined, reference))
    spans = [span for name, depth in maps.items() if name != "coarse, nearest" and (span := depth_range(depth))]
    near_far = (min(near for near, _ in spans), max(far for _, far in spans)) if spans else None
    return [("input", image), *((name, colorize(depth, near_far)) for name, depth in maps.items())]


def most_changed(coarse: np.ndarray, refined: np.ndarray, share: float = SHARE) -> Window:
    """Rows and columns of the window, ``share`` of each side, in which ``refined`` differs most often from ``coarse`` (> 5 %)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        changed = (np.abs(np.log(refined / coarse)) > 0.05).astype(np.float32)
    return _fullest(changed, share)[0]


def most_gained(coarse: np.ndarray, refined: np.ndarray, reference: np.ndarray, share: float = SHARE) -> tuple[Window, float]:
    """Rows and columns of such a window in which the error fell most from ``coarse`` to ``refined``, and by how much: mean drop of
    |ln depth − ln reference| over its pixels, each error up to ``FULL_ERROR``. All [H, W], aligned; unknown pixels gain nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = (np.minimum(np.abs(np.log(depth / reference)), FULL_ERROR) for depth in (coarse, refined))
    gained = np.nan_to_num(before - after, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    window, total = _fullest(gained, share)
    return window, total / gained[window].size


def _fullest(values: np.ndarray, share: float) -> tuple[Window, float]:
    """The window, ``share`` of each side, with the largest sum of ``values`` ``float32 [H, W]``, and that sum."""
    height, width = values.shape
    window = max(1, round(share * height)), max(1, round(share * width))
    sums = cv2.boxFilter(values, cv2.CV_32F, (window[1], window[0]), normalize=False, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = sums[: height - window[0] + 1, : width - window[1] + 1]
    top, left = (int(i) for i in np.unravel_index(int(np.argmax(inside)), inside.shape))
    return (slice(top, top + window[0]), slice(left, left + window[1])), float(inside[top, left])
