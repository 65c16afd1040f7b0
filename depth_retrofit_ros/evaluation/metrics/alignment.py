"""Alignment of a depth map with the reference before it is measured: none, the median's scale, or scale and shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import both_known, median_scale

Mode = Literal["none", "median", "scale-shift"]
MODES: tuple[Mode, ...] = get_args(Mode)
NEAREST_M, FARTHEST_M = 1e-3, 1e3


@dataclass(frozen=True, slots=True)
class Alignment:
    """``scale·d + shift``, of the depth d or (``inverse``) of 1/d, in the reference's unit; with a shift within 1 mm … 1 km."""

    scale: float = 1.0
    shift: float = 0.0
    inverse: bool = False

    def apply(self, depth: np.ndarray) -> np.ndarray:
        """``float32 [H, W]`` → ``float32 [H, W]``."""
        if not self.inverse and self.shift == 0.0:
            return np.asarray(depth * np.float32(self.scale), np.float32)
        scale, shift = np.float32(self.scale), np.float32(self.shift)
        if self.inverse:
            return np.reciprocal(np.clip(scale / depth + shift, 1 / FARTHEST_M, 1 / NEAREST_M, dtype=np.float32))
        return np.clip(depth * scale + shift, NEAREST_M, FARTHEST_M, dtype=np.float32)


def fit(depth: np.ndarray, reference: np.ndarray, mode: Mode, inverse: bool) -> Alignment:
    """The alignment of ``depth`` with ``reference`` (both [H, W]) over the pixels that both know; the identity where there are
    none.

    ``median`` makes the medians agree. ``scale-shift`` is least squares: of depth or, where ``inverse``, of inverse depth, which is
    what a model of disparity predicts up to scale and shift (Ranftl et al. 2020).
    """
    known = both_known(depth, reference)
    if mode == "none" or not known.any():
        return Alignment()
    if mode == "median":
        return Alignment(median_scale(depth, reference))
    d, r = depth[known].astype(np.float64), reference[known].astype(np.float64)
    return _least_squares(1 / d, 1 / r, True) if inverse else _least_squares(d, r, False)


def _least_squares(values: np.ndarray, wanted: np.ndarray, inverse: bool) -> Alignment:
    """Of a constant prediction only the shift can be told; its scale stays 1."""
    deviation = values - values.mean()
    variance = float(deviation @ deviation)
    scale = float(deviation @ wanted) / variance if variance > 0 else 1.0
    return Alignment(scale, float(wanted.mean() - scale * values.mean()), inverse)
