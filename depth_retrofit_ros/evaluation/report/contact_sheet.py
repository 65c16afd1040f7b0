"""One frame of a run as a picture: input, coarse and refined depth, and where a reference is known, the error of both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depth_retrofit_ros.evaluation.data.registration import on_grid
from depth_retrofit_ros.evaluation.report.pictures import error_picture
from depth_retrofit_ros.evaluation.sequence import Measured
from depth_retrofit_ros.io.color_map import colorize, depth_range
from depth_retrofit_ros.io.depth_files import side_by_side

PANEL_WIDTH = 480
_GAP = 4


def contact_sheet(image: np.ndarray, maps: Mapping[str, np.ndarray], measured: Measured | None) -> np.ndarray:
    """RGB. Without a reference one row: input, bilinear, refined. With one, two rows: input, reference, error of bilinear;
    bilinear, refined, error of refined; all depth aligned, in the colours of the reference's range.

    image ``uint8 [H, W, 3]``, maps: depth ``float32 [H, W]`` of ``bilinear`` and ``refined``.
    """
    if measured is None:
        near_far = depth_range(maps["refined"])
        depth = [(name, colorize(maps[name], near_far)) for name in ("bilinear", "refined")]
        return side_by_side([("input", image), *depth], PANEL_WIDTH)
    height, width = measured.reference.shape
    near_far = depth_range(measured.reference)
    shown = image if image.shape[:2] == (height, width) else _at_size(image, height, width)
    upper = [("input", shown), ("reference", colorize(measured.reference, near_far)), _error("bilinear", measured)]
    lower = [(name, colorize(measured.maps[name], near_far)) for name in ("bilinear", "refined")]
    rows = [side_by_side(row, PANEL_WIDTH) for row in (upper, [*lower, _error("refined", measured)])]
    return np.concatenate((rows[0], np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8), rows[1]))


def _at_size(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.stack([on_grid(np.ascontiguousarray(image[..., i]), height, width) for i in range(3)], axis=2)


def _error(name: str, measured: Measured) -> tuple[str, np.ndarray]:
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(np.log(measured.maps[name] / measured.reference))
    return f"error, {name}", error_picture(error)
