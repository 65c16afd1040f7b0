"""How far a depth map is from a reference, over the pixels that both know."""

from __future__ import annotations

import cv2
import numpy as np

DELTA1_RATIO = 1.25
EDGE_RATIO = 1.05  # a depth edge: two neighbours differ by more than this factor, the lowest threshold of the boundary F1


def both_known(depth: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """bool [H, W]: where both maps [H, W] are finite and positive."""
    known: np.ndarray = np.isfinite(depth) & np.isfinite(reference) & (depth > 0) & (reference > 0)
    return known


def abs_rel(depth: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> float:
    """Mean of ``|d - r| / r`` over the pixels of [H, W] that both know (and ``where``, bool [H, W], picks); NaN without any."""
    known = both_known(depth, reference) if where is None else both_known(depth, reference) & where
    if not known.any():
        return float("nan")
    truth = reference[known].astype(np.float64)
    return float(np.mean(np.abs(depth[known] - truth) / truth))


def pointwise(depth: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> dict[str, float]:
    """The standard errors over the same pixels as ``abs_rel``; all NaN without any.

    ``abs_rel``, and the median and the 95th percentile of |d − r| / r over the pixels, which a few pixels of sky do not decide;
    ``rmse`` [m]: root of the mean squared difference; ``silog``: 100·sqrt(mean(g²) − mean(g)²) with g = ln d − ln r (Eigen et al.
    2014); ``delta1``: share of pixels with max(d/r, r/d) < 1.25.
    """
    known = both_known(depth, reference) if where is None else both_known(depth, reference) & where
    if not known.any():
        return dict.fromkeys(("abs_rel", "abs_rel_median", "abs_rel_p95", "rmse", "silog", "delta1"), float("nan"))
    d, r = depth[known], reference[known]
    off, ratio = np.abs(d - r), d / r
    relative = off / r
    median, high = np.percentile(relative, (50, 95))
    return {
        "abs_rel": float(np.mean(relative, dtype=np.float64)),
        "abs_rel_median": float(median),
        "abs_rel_p95": float(high),
        "rmse": float(np.sqrt(np.mean(np.square(off), dtype=np.float64))),
        "silog": 100 * float(np.std(np.log(ratio), dtype=np.float64)),
        "delta1": float(np.mean(np.maximum(ratio, 1 / ratio) < DELTA1_RATIO)),
    }


def median_scale(depth: np.ndarray, reference: np.ndarray) -> float:
    """The factor on ``depth`` that makes the medians of the two agree over the pixels that both know; NaN where there are none."""
    known = both_known(depth, reference)
    return float(np.median(reference[known]) / np.median(depth[known])) if known.any() else float("nan")


def depth_edge_band(reference: np.ndarray, ratio: float = EDGE_RATIO, reach_px: int = 3) -> np.ndarray:
    """bool [H, W]: pixels up to ``reach_px`` away from a jump of ``reference``.

    A jump is between two 4-neighbours, both known, whose depths differ by more than the factor ``ratio``. Distance is along rows
    and columns, whichever is longer; the two pixels of the jump are 1 px away from it.
    """
    log = np.full(reference.shape, np.nan, np.float32)
    np.log(reference, out=log, where=both_known(reference, reference))
    beside = np.abs(np.diff(log, axis=1)) > np.log(ratio)  # a comparison with NaN is false: no jump to the unknown
    below = np.abs(np.diff(log, axis=0)) > np.log(ratio)
    side = 2 * (reach_px - 1) + 1
    return np.asarray(cv2.dilate(mark_both_sides(beside, below).astype(np.uint8), np.ones((side, side), np.uint8)), bool)


def mark_both_sides(beside: np.ndarray, below: np.ndarray) -> np.ndarray:
    """bool [H, W]: the pixels of the marked pairs; beside ``bool [H, W-1]``: left and right neighbour, below ``bool [H-1, W]``."""
    marked = np.zeros((beside.shape[0], below.shape[1]), bool)
    marked[:, 1:] |= beside
    marked[:, :-1] |= beside
    marked[1:] |= below
    marked[:-1] |= below
    return marked
