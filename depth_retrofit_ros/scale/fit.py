"""Scale (and shift) of a depth map from a few true depths: a robust fit per frame, smoothed over time.

A metric model is corrected in depth, z = scale·d + shift. A relative model predicts inverse depth up to scale and shift (Ranftl et
al. 2020), so it is corrected there: 1/z = scale/d + shift. Either way the relative error of z is linear in scale and shift, and
what is minimised is the median of its absolute value (least median of squares, Rousseeuw 1984): a LiDAR sees around the corners of
what the camera sees, and up to half of its points may be wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

Mode = Literal["scale", "scale-shift"]

FEWEST_POINTS = 30
SPREAD = 1.25  # ratio of the 90th to the 10th percentile of depth below which no shift can be told
SMOOTHING_S = 0.5  # time constant
HOLD_S = 1.0  # for how long a correction outlives the last fit
_PAIRS = 256  # that are tried as exact solutions: enough to hit a good one among 50 % outliers with certainty
_LEAST_INLIER_BAND = 0.02


@dataclass(frozen=True, slots=True)
class Correction:
    """``scale·d + shift``, of depth d or (``inverse``) of 1/d; the shift in metres or 1/m."""

    scale: float
    shift: float
    inverse: bool

    def apply(self, depth: torch.Tensor) -> torch.Tensor:
        """``float32 [H, W]`` → a new one in metres, NaN where the result is no finite positive depth."""
        corrected = (depth.reciprocal() if self.inverse else depth) * self.scale + self.shift
        corrected = corrected.reciprocal_() if self.inverse else corrected
        return corrected.masked_fill_(~((corrected > 0) & corrected.isfinite()), math.nan)


@dataclass(frozen=True, slots=True)
class Fit:
    """One frame's correction; residual: median relative error of the depth under it; inliers: how many of ``points`` agree."""

    correction: Correction
    points: int
    inliers: int
    residual: float


def fit(depth: np.ndarray, truth: np.ndarray, mode: Mode, inverse: bool, max_residual: float, shift: float = 0.0) -> Fit | str:
    """The correction that brings ``depth`` to ``truth``, or why there is none.

    depth, truth: ``float [N]``, of the same pixels; pairs of which one is no finite positive number are left out. max_residual:
    the largest median relative error that is a fit. shift: to keep where the depths are too alike to tell one, or in mode
    ``scale``. The result depends on nothing else: no chance is involved.
    """
    known = np.isfinite(depth) & np.isfinite(truth) & (depth > 0) & (truth > 0)
    d, z = depth[known].astype(np.float64), truth[known].astype(np.float64)
    if len(d) < FEWEST_POINTS:
        return f"only {len(d)} sparse depths fall on known pixels ({FEWEST_POINTS} are needed)"
    with np.errstate(all="ignore"):  # absurd numbers overflow, and are told by the residual
        # Relative error = scale·x + shift·y − 1; in inverse depth that of 1/z, which is as large.
        x, y = (z / d, z) if inverse else (d / z, 1 / z)
        near, far = np.percentile(d, (10, 90))
        if mode == "scale" or far < SPREAD * near:
            scale, shift = _scale_given(x, y, shift), shift
        else:
            scale, shift = _scale_and_shift(x, y, d)
        error = np.abs(scale * x + shift * y - 1)
        residual = float(np.median(error))
    if not scale > 0:
        return "sparse depth and image disagree (one grows where the other falls): check their calibration and frames"
    if not residual <= max_residual:
        return (
            f"sparse depth and image disagree (median relative error {residual:.2g}, max_residual is {max_residual:g}): check "
            "their calibration and frames, or take another model"
        )
    inliers = int(np.count_nonzero(error <= _inlier_band(residual)))
    return Fit(Correction(float(scale), float(shift), inverse), len(d), inliers, residual)


def _scale_given(x: np.ndarray, y: np.ndarray, shift: float) -> float:
    return float(np.median((1 - shift * y) / x))


def _scale_and_shift(x: np.ndarray, y: np.ndarray, depth: np.ndarray) -> tuple[float, float]:
    """Least median of squares over pairs of a near and a far point, then least squares over the inliers."""
    order = np.argsort(depth, kind="stable")
    third = len(order) // 3
    rng = np.random.default_rng(0)  # always the same pairs
    i, j = order[rng.integers(0, third, _PAIRS)], order[rng.integers(len(order) - third, len(order), _PAIRS)]
    determinant = x[i] * y[j] - x[j] * y[i]
    usable = np.abs(determinant) > 1e-12
    i, j, determinant = i[usable], j[usable], determinant[usable]
    scales, shifts = (y[j] - y[i]) / determinant, (x[i] - x[j]) / determinant
    medians = np.array([np.median(np.abs(a * x + b * y - 1)) for a, b in zip(scales, shifts, strict=True)])
    if not medians.size:
        return _scale_given(x, y, 0.0), 0.0
    best = int(medians.argmin())
    agree = np.abs(scales[best] * x + shifts[best] * y - 1) <= _inlier_band(float(medians[best]))
    solution = np.linalg.lstsq(np.stack((x, y), axis=1)[agree], np.ones(int(agree.sum())), rcond=None)[0]
    return float(solution[0]), float(solution[1])


def _inlier_band(median_error: float) -> float:
    """2.5 robust standard deviations."""
    return max(_LEAST_INLIER_BAND, 2.5 * 1.4826 * median_error)


class ScaleTracker:
    """The smoothed correction of a stream of frames.

    correction: what holds for the frame of the last ``update``, None without any. last_fit: the newest that succeeded; problem:
    why the last update brought none, empty where it did. max_residual: see ``fit``.
    """

    def __init__(self, mode: Mode, max_residual: float) -> None:
        self.correction: Correction | None = None
        self.last_fit: Fit | None = None
        self.problem = ""
        self._mode = mode
        self._max_residual = max_residual
        self._fitted_ns: int | None = None

    def update(self, stamp_ns: int, depth: np.ndarray, truth: np.ndarray, inverse: bool) -> None:
        """A frame at ``stamp_ns`` with these true depths (see ``fit``), none of them where there are none at all."""
        self._forget(stamp_ns, inverse)
        shift = self.correction.shift if self.correction is not None and self._mode == "scale-shift" else 0.0
        found = fit(depth, truth, self._mode, inverse, self._max_residual, shift)
        if isinstance(found, str):
            self.problem = found
            return
        self.problem, self.last_fit = "", found
        self.correction = self._smoothed(found.correction, stamp_ns)
        self._fitted_ns = stamp_ns

    def miss(self, stamp_ns: int, inverse: bool, problem: str) -> None:
        """A frame without any sparse depth, and why."""
        self._forget(stamp_ns, inverse)
        self.problem = problem

    def reset(self) -> None:
        """Begin anew: another camera, another place, another time."""
        self.correction, self._fitted_ns = None, None

    def _forget(self, stamp_ns: int, inverse: bool) -> None:
        """A correction does not outlive ``HOLD_S``, a jump of the stamps back, or a change of the model's kind of depth."""
        if self.correction is None or self._fitted_ns is None:
            return
        passed_s = 1e-9 * (stamp_ns - self._fitted_ns)
        if not 0 <= passed_s <= HOLD_S or self.correction.inverse != inverse:
            self.reset()

    def _smoothed(self, new: Correction, stamp_ns: int) -> Correction:
        if self.correction is None or self._fitted_ns is None:
            return new
        weight = 1 - math.exp(-1e-9 * (stamp_ns - self._fitted_ns) / SMOOTHING_S)
        old = self.correction
        return Correction(old.scale + weight * (new.scale - old.scale), old.shift + weight * (new.shift - old.shift), new.inverse)
