"""The grid that a stored map is refined on: one as fine as what the map knows, rather than the one to which it was made larger.

Many programs store a network's answer at the size of its photo. Each of its edges is then a ramp several cells wide, over which
there is nothing to choose from and nothing to sharpen. The map's own resolution is what its edges tell.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from depth_retrofit_ros.errors import DatasetError

Grid = int | Literal["native"] | None  # long side [px]; as it is stored; what the map's detail is worth
ROOMY = 0.5  # of the frame's long side: up to that a map is as it was made, and beyond there is little to choose from
REACH = 8  # px to both sides of an edge, within which its step is looked for
LEAST_STEP = 0.2  # of ln depth
STEEPEST, RIVAL = 0.06, 3  # share of the step in one pixel, that makes an edge; px within which there is none steeper
FEWEST_EDGES = 100
SHARPEST = 0.1  # quantile of the widths: soft things have wide edges at any resolution
SHARP = 1.1  # px: a map whose sharpest edges are no wider is at its own resolution, whichever that is
WIDTH = 1.3  # px, of the sharpest edges of networks at their own resolution
MOST = 4.0  # times smaller, and no more
LEAST_SIDE = 16
FAR = 0.1  # of the mean inverse depth: what is farther is of no interest here
TURNED = 1.2  # a map this much taller than wide is no view of a frame that is as much wider than tall


def grid_for(inverse: np.ndarray, frame: tuple[int, int], asked: Grid) -> tuple[int, int]:
    """The size (h, w) to which inverse depth ``[h, w]`` is to be brought for a frame (H, W); never a larger one.

    asked: None (as stored where that is at most half of the frame's size, else by the detail of the map), ``native`` (as stored,
    but within the frame), or the long side [px]. Raises DatasetError for a map that is turned.
    """
    h, w = inverse.shape
    if (h > TURNED * w and frame[1] > TURNED * frame[0]) or (w > TURNED * h and frame[0] > TURNED * frame[1]):
        raise DatasetError(f"the coarse map is {w}x{h} but its image {frame[1]}x{frame[0]}: turn it as the image is shown")
    if isinstance(asked, int):
        shrink = max(h, w) / asked
    elif asked == "native" or max(h, w) <= ROOMY * max(frame):
        shrink = 1.0
    else:
        edge = edge_width(inverse)
        shrink = 1.0 if edge <= SHARP else min(MOST, max(edge / WIDTH, max(h, w) / (ROOMY * max(frame))))
    shrink = max(1.0, shrink)
    height, width = (min(have, n, max(LEAST_SIDE, round(have / shrink))) for have, n in zip((h, w), frame, strict=True))
    return height, width


def edge_width(inverse: np.ndarray) -> float:
    """How many cells the sharpest edges of inverse depth ``[h, w]`` take from one side to the other; 0 where there are hardly any
    edges. A map may have been made larger as depth or as inverse depth: in the other one its ramps look steeper than they are."""
    known = np.isfinite(inverse)
    least = max(FAR * float(inverse[known].mean()) if known.any() else 1.0, float(np.finfo(np.float32).tiny))
    inverse = np.maximum(np.where(known, inverse, np.float32(least)), np.float32(least))
    near_hole = _highest((~known).astype(np.float32), REACH) > 0  # whose rim is no edge
    edged = (_range(np.log(inverse), REACH) > LEAST_STEP) & ~near_hole
    return max(_sharpest_width(values, edged) for values in (inverse, 1 / inverse))


def _sharpest_width(values: np.ndarray, edged: np.ndarray) -> float:
    """Of the edges of values ``[h, w]`` where ``edged`` (bool); 0 where there are hardly any."""
    slope = np.hypot(np.diff(values, axis=1, append=values[:, -1:]), np.diff(values, axis=0, append=values[-1:]))
    step = _range(values, REACH)
    edge = edged & (slope >= _highest(slope, RIVAL)) & (slope > STEEPEST * step)
    return float(np.quantile(step[edge] / slope[edge], SHARPEST)) if np.count_nonzero(edge) >= FEWEST_EDGES else 0.0


def _highest(values: np.ndarray, reach: int) -> np.ndarray:
    """Within ``reach`` cells, of ``float32 [h, w]``."""
    return np.asarray(cv2.dilate(values, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)))


def _range(values: np.ndarray, reach: int) -> np.ndarray:
    """Highest less lowest within ``reach`` cells, of ``float32 [h, w]``."""
    return _highest(values, reach) + _highest(-values, reach)


def averaged(inverse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Inverse depth ``[h, w]``, NaN where unknown, → its mean over each cell of a smaller grid (h', w'), of what is known there;
    unknown where less than half of the cell is known."""
    if inverse.shape == size:
        return inverse
    known = np.isfinite(inverse)
    share = cv2.resize(known.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(known, inverse, np.float32(0)), size[::-1], interpolation=cv2.INTER_AREA)
    return np.where(share >= 0.5, total / np.maximum(share, 0.5), np.float32(np.nan)).astype(np.float32)
