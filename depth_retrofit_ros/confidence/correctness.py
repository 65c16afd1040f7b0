"""When a depth is right: what a confidence is the probability of."""

from __future__ import annotations

import numpy as np

TOLERANCE = 0.05


def is_right(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``bool [H, W]``: whether depth is within ``TOLERANCE`` of the truth once the frame's median ratio is taken from it; not where
    either is unknown, and not in the sky (truth inf), of which no depth is right."""
    known = np.isfinite(depth) & np.isfinite(truth)
    if not known.any():
        return known
    ratio = np.median(truth[known] / depth[known])
    with np.errstate(invalid="ignore"):
        return known & (np.abs(depth * ratio - truth) <= TOLERANCE * truth)
