"""A picture of what refinement gains over stretching the same coarse map."""

from __future__ import annotations

import cv2
import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import median_scale
from depth_retrofit_ros.io.color_map import colorize, depth_range
from depth_retrofit_ros.io.depth_files import side_by_side


def picture(image: np.ndarray, maps: dict[str, np.ndarray], reference: np.ndarray | None, panel_width: int) -> np.ndarray:
    """RGB: input, nearest, refined and, where known, the reference; below, magnified, the place where refinement changed most.

    maps: ``nearest``, ``bilinear`` (as a smooth measure of that change) and ``refined`` depth, [H, W] each. Colours span the depths
    of the row that they are in; in each row the reference is scaled to the median of the refined depth there.
    """
    bilinear, refined = maps["bilinear"], maps["refined"]
    everywhere, window = (slice(None), slice(None)), most_changed(bilinear, refined)
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


def most_changed(coarse: np.ndarray, refined: np.ndarray, share: float = 0.16) -> tuple[slice, slice]:
    """Rows and columns of the window, ``share`` of each side, in which ``refined`` differs most often from ``coarse`` (> 5 %)."""
    height, width = refined.shape
    window = max(1, round(share * height)), max(1, round(share * width))
    with np.errstate(invalid="ignore", divide="ignore"):
        changed = (np.abs(np.log(refined / coarse)) > 0.05).astype(np.float32)
    density = cv2.boxFilter(changed, -1, (window[1], window[0]), normalize=False, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = density[: height - window[0] + 1, : width - window[1] + 1]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return slice(int(top), int(top) + window[0]), slice(int(left), int(left) + window[1])
