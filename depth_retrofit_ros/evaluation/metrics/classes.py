"""Five classes of pixels by what a coarse map can show of them: things and gaps too thin for it, what is beside them, other edges,
and the rest; and the error of depth in each.

They are defined on the truth at full resolution, with the coarse cell as the unit of length: a pole is thin for one coarse map and
not for another.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import both_known, depth_edge_band

CLASSES = ("thin", "gaps", "beside_thin", "edges", "elsewhere")
UNKNOWN = 255  # class of a pixel without truth
CLEAR = float(np.log(1.1))  # in ln depth: by how much a thin thing is before, a gap behind, what is around it
THIN_CELLS, BESIDE_CELLS, EDGE_CELLS = 2, 2, 1

Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]
Errors = dict[str, float]


def pixel_classes(depth: np.ndarray, cell_px: float) -> np.ndarray:
    """Index into ``CLASSES`` of each pixel, ``uint8 [H, W]``, ``UNKNOWN`` where the truth is not finite.

    depth: true depth ``float32 [H, W]``; inf is sky, which is behind everything, other unknown depth takes no part. cell_px: width
    of a coarse cell [px]. The first class that holds counts:

    - thin: a closing of ln depth with a disc as wide as two cells moves the pixel back by more than ``CLEAR``;
    - gaps: an opening with it brings the pixel forward by as much;
    - beside_thin: within one cell of a depth edge, and within two of a thin pixel;
    - edges: within one cell of a depth edge;
    - elsewhere.
    """
    known = both_known(depth, depth)
    sky = np.isposinf(depth)
    log = np.full(depth.shape, np.inf, np.float32)
    np.log(depth, out=log, where=known)
    side = _odd(THIN_CELLS * cell_px)
    thin = known & (_closing(log, known | sky, side) > log + CLEAR)
    gaps = known & ~thin & (-_closing(-log, known | sky, side) < log - CLEAR)
    band = depth_edge_band(np.where(known, depth, np.float32(np.nan)), reach_px=max(1, int(EDGE_CELLS * cell_px)))
    beside = _spread(thin.astype(np.float32), 2 * round(BESIDE_CELLS * cell_px) + 1, cv2.dilate) > 0
    number = {name: np.uint8(i) for i, name in enumerate(CLASSES)}
    conditions = [~known, thin, gaps, band & beside, band]
    values = [np.uint8(UNKNOWN), number["thin"], number["gaps"], number["beside_thin"], number["edges"]]
    return np.asarray(np.select(conditions, values, number["elsewhere"]), np.uint8)


def class_errors(depth: np.ndarray, truth: np.ndarray, classes: np.ndarray, where: np.ndarray | None = None) -> Errors:
    """Mean of |ln depth − ln truth| by class, over the pixels of [H, W] that both know (and ``where``, bool, picks); NaN where a
    class has none."""
    known = both_known(depth, truth) if where is None else both_known(depth, truth) & where
    number = classes[known]
    error = np.abs(np.log(depth[known] / truth[known]))
    return dict(zip(CLASSES, _ratio(_count(number, error), _count(number)), strict=True))


def class_shares(classes: np.ndarray, selected: np.ndarray) -> tuple[Errors, Errors]:
    """By class: its share of the known pixels, and the share of its pixels that are ``selected`` (bool [H, W])."""
    total, chosen = _count(classes.ravel()), _count(classes[selected])
    shares, covered = _ratio(total, total.sum()), _ratio(chosen, total)
    return dict(zip(CLASSES, shares, strict=True)), dict(zip(CLASSES, covered, strict=True))


def _count(number: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    return np.bincount(number, weights, UNKNOWN + 1)[: len(CLASSES)]


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> list[float]:
    return [float(x) for x in np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)]


def _closing(values: np.ndarray, known: np.ndarray, side: int) -> np.ndarray:
    """Grey closing of ``float32 [H, W]`` with a disc ``side`` px wide whose middle is in the frame, over the ``known`` pixels."""
    highest = _spread(np.where(known, values, np.float32(-np.inf)), side, cv2.dilate)
    return _spread(np.where(np.isneginf(highest) & ~known, np.float32(np.inf), highest), side, cv2.erode)


def _spread(values: np.ndarray, side: int, extreme: Filter) -> np.ndarray:
    """The greatest (``cv2.dilate``) or least (``cv2.erode``) of ``float32 [H, W]`` in the octagon around each pixel.

    side: its width [px], odd. An octagon is the Minkowski sum of a square and two diagonals, so its cost grows with its width and
    not with its area. The margin is for steps that leave the frame and come back.
    """
    cut = max(0, min(round((1 - 0.5**0.5) * (side - 1) / 2), (side - 3) // 4))  # a square of 1 px would leave a checkerboard
    values = np.pad(values, cut, constant_values=-np.inf if extreme is cv2.dilate else np.inf)
    values = extreme(values, np.ones((side - 4 * cut, side - 4 * cut), np.uint8))
    if cut == 0:
        return values
    for diagonal in (np.eye(2 * cut + 1, dtype=np.uint8), np.eye(2 * cut + 1, dtype=np.uint8)[::-1]):
        values = extreme(values, np.ascontiguousarray(diagonal))
    return values[cut:-cut, cut:-cut]


def _odd(width_px: float) -> int:
    """The largest odd number up to ``width_px``, at least 1."""
    return max(1, (int(width_px) - 1) // 2 * 2 + 1)
