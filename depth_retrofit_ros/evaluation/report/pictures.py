"""Pictures of one evaluated image: overviews, and crops where the refined edges are best and worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from depth_retrofit_ros.evaluation.evaluator import Evaluated
from depth_retrofit_ros.io.color_map import UNKNOWN_RGB, colorize, depth_range

FULL_SCALE = float(np.log(1.5))  # ln ratio of the brightest error
CROP_SHARE = 1 / 12  # of the long side
MIN_EDGE_SHARE = 0.05  # of a crop, for its error to mean something
SELECTED_RGB, MISSED_RGB = (60, 200, 90), (255, 40, 40)


@dataclass(frozen=True, slots=True)
class Crop:
    """A window (x, y, side) [px]; before, after: mean |ln ratio| of bilinear and refined over its edge band; pictures by title."""

    x: int
    y: int
    side: int
    before: float
    after: float
    pictures: dict[str, np.ndarray]


def overviews(result: Evaluated) -> dict[str, np.ndarray]:
    """Full-size pictures by title, ``uint8 [H, W, 3]``."""
    near_far = depth_range(result.truth)
    return {
        "input": result.sample.frame.image,
        "truth": colorize(result.truth, near_far),
        "coarse (bilinear)": colorize(result.maps["bilinear"], near_far),
        "refined": colorize(result.maps["refined"], near_far),
        "selection": selection_picture(result),
        "error, bilinear": error_picture(log_error(result, "bilinear")),
        "error, refined": error_picture(log_error(result, "refined")),
    }


def log_error(result: Evaluated, method: str) -> np.ndarray:
    """|ln depth − ln truth|, ``float32 [H, W]``, NaN where the truth is unknown."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(np.log(result.maps[method] / result.truth)))


def error_picture(error: np.ndarray) -> np.ndarray:
    """Black is right, yellow is off by a factor of 1.5 or more, grey is unknown."""
    known = np.isfinite(error)
    level = np.where(known, np.minimum(error / FULL_SCALE, 1) * 255, 0).astype(np.uint8)
    picture = np.asarray(cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB))
    picture[~known] = UNKNOWN_RGB
    return picture


def selection_picture(result: Evaluated) -> np.ndarray:
    """The input in grey; green: selected for refinement; red: high-error pixels that were not."""
    gray = cv2.cvtColor(result.sample.frame.image, cv2.COLOR_RGB2GRAY) // 2
    picture = np.repeat(gray[..., None], 3, axis=2)
    picture[result.selected] = picture[result.selected] // 2 + np.array(SELECTED_RGB, np.uint8) // 2
    picture[result.high_error & ~result.selected] = MISSED_RGB
    return picture


def edge_crops(result: Evaluated) -> Mapping[str, Crop]:
    """``best``: where refinement lowered the edge band's error most; ``worst``: where the refined edge error is largest.

    None of the two where no window has enough of the edge band.
    """
    height, width = result.truth.shape
    side = min(height, width, max(16, round(max(height, width) * CROP_SHARE)))
    known = result.band & np.isfinite(result.truth)
    count = _window_sums(known.astype(np.float32), side)
    before, after = (_window_sums(np.where(known, log_error(result, m), 0), side) for m in ("bilinear", "refined"))
    enough = count >= MIN_EDGE_SHARE * side * side
    if not enough.any():
        return {}
    before, after = before / np.maximum(count, 1), after / np.maximum(count, 1)
    ranks = {"best": np.where(enough, before - after, -np.inf), "worst": np.where(enough, after, -np.inf)}
    crops = {}
    for title, rank in ranks.items():
        row, column = (int(i) for i in np.unravel_index(rank.argmax(), rank.shape))
        at = (column * _stride(side), row * _stride(side))
        crops[title] = Crop(*at, side, float(before[row, column]), float(after[row, column]), _crop_pictures(result, *at, side))
    return crops


def _crop_pictures(result: Evaluated, x: int, y: int, side: int) -> dict[str, np.ndarray]:
    window = (slice(y, y + side), slice(x, x + side))
    near_far = depth_range(result.truth[window])
    maps: dict[str, Any] = {"truth": result.truth, **{name: result.maps[name] for name in ("bilinear", "guided", "jbu", "refined")}}
    return {"input": result.sample.frame.image[window]} | {name: colorize(m[window], near_far) for name, m in maps.items()}


def _stride(side: int) -> int:
    return max(1, side // 4)


def _window_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Sums over square windows whose corners lie ``_stride(side)`` apart."""
    total = cv2.integral(values, sdepth=cv2.CV_64F)
    step = _stride(side)
    upper, lower = total[: -side or None : step], total[side::step]
    return np.asarray(
        lower[:, side::step] - lower[:, : -side or None : step] - upper[:, side::step] + upper[:, : -side or None : step]
    )
