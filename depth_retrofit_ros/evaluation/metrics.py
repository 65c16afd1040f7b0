"""How far a depth map is from a reference, over the pixels that both know."""

from __future__ import annotations

import cv2
import numpy as np


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


def median_scale(depth: np.ndarray, reference: np.ndarray) -> float:
    """The factor on ``depth`` that makes the medians of the two agree over the pixels that both know; NaN where there are none."""
    known = both_known(depth, reference)
    return float(np.median(reference[known]) / np.median(depth[known])) if known.any() else float("nan")


def depth_edge_band(reference: np.ndarray, ratio: float = 1.05, reach_px: int = 3) -> np.ndarray:
    """bool [H, W]: pixels up to ``reach_px`` away from a jump of ``reference``.

    A jump is between two 4-neighbours, both known, whose depths differ by more than the factor ``ratio``.
    """
    log = np.full(reference.shape, np.nan)
    np.log(reference, out=log, where=both_known(reference, reference))
    beside = np.abs(np.diff(log, axis=1)) > np.log(ratio)  # a comparison with NaN is false: no jump to the unknown
    below = np.abs(np.diff(log, axis=0)) > np.log(ratio)
    edge = np.zeros(reference.shape, np.uint8)
    edge[:, 1:] |= beside
    edge[:, :-1] |= beside
    edge[1:] |= below
    edge[:-1] |= below
    side = 2 * (reach_px - 1) + 1
    return np.asarray(cv2.dilate(edge, np.ones((side, side), np.uint8)), bool)
