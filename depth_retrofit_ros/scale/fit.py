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
SPREAD = 1.25  # ratio of the 90th to the 10th percentile of true depth below which no shift can be told
SMOOTHING_S = 0.5  # time constant
HOLD_S = 1.0  # for how long a correction outlives the last fit, and a disagreement the frame that told it
LAG = 0.05  # by how much smoothing may raise the residual: more is no noise but a change, which is followed at once
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


@dataclass(frozen=True, slots=True)
class NoFit:
    """why: in one line. disagree: the true depths contradict the depth, rather than being too few or too alike."""

    why: str
    disagree: bool = False


def fit(
    depth: np.ndarray, truth: np.ndarray, mode: Mode, inverse: bool, max_residual: float, shift: float | None = None
) -> Fit | NoFit:
    """The correction that brings ``depth`` to ``truth``, or why there is none.

    depth, truth: ``float [N]``, of the same pixels; pairs of which one is no finite positive number are left out. max_residual:
    the largest median relative error that is a fit. shift: to keep where the true depths are too alike to tell one; None where none
    is known, which is 0 for depth, and unknown for inverse depth, where it decides how far the far end is. The result depends on
    nothing else: no chance is involved. Raises ValueError for mode ``scale`` of inverse depth, whose shift is never known.
    """
    if mode == "scale" and inverse:
        raise ValueError("no scale alone makes metres of inverse depth, whose shift is unknown: use scale-shift")
    d, z = _known_pairs(depth, truth)
    if len(d) < FEWEST_POINTS:
        return NoFit(f"only {len(d)} sparse depths fall on known pixels ({FEWEST_POINTS} are needed)")
    with np.errstate(all="ignore"):  # absurd numbers overflow, and are told by the residual
        x, y = _terms(d, z, inverse)
        told = _scale_and_shift(x, y, d, z) if mode == "scale-shift" else None
        if told is None and shift is None and inverse:
            near, far = np.percentile(z, (10, 90))
            return NoFit(
                f"sparse depths lie within {near:.3g} to {far:.3g} m, too alike to tell the shift: let them cover near and far"
            )
        scale, shift = told or (_scale_given(x, y, shift or 0.0), shift or 0.0)
        error = np.abs(scale * x + shift * y - 1)
        median = float(np.median(error))
    if not scale > 0:
        return NoFit("sparse depth and image disagree (one grows where the other falls): check their calibration and frames", True)
    if not median <= max_residual:
        return NoFit(
            f"sparse depth and image disagree (median relative error {median:.2g}, max_residual is {max_residual:g}): check "
            "their calibration and frames, or take another model",
            True,
        )
    inliers = int(np.count_nonzero(error <= _inlier_band(median)))
    return Fit(Correction(float(scale), float(shift), inverse), len(d), inliers, median)


def residual(correction: Correction, depth: np.ndarray, truth: np.ndarray) -> float:
    """The median relative error of ``depth`` under a correction; depth, truth: see ``fit``."""
    d, z = _known_pairs(depth, truth)
    with np.errstate(all="ignore"):
        x, y = _terms(d, z, correction.inverse)
        return float(np.median(np.abs(correction.scale * x + correction.shift * y - 1)))


def _known_pairs(depth: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(depth) & np.isfinite(truth) & (depth > 0) & (truth > 0)
    return depth[known].astype(np.float64), truth[known].astype(np.float64)


def _terms(d: np.ndarray, z: np.ndarray, inverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """x, y for which the relative error is scale·x + shift·y − 1; in inverse depth it is that of 1/z, which is as large."""
    return (z / d, z) if inverse else (d / z, 1 / z)


def _alike(truth: np.ndarray) -> bool:
    """Whether true depths are too alike to tell a shift."""
    near, far = np.percentile(truth, (10, 90))
    return bool(far < SPREAD * near)


def _scale_given(x: np.ndarray, y: np.ndarray, shift: float) -> float:
    return float(np.median((1 - shift * y) / x))


def _scale_and_shift(x: np.ndarray, y: np.ndarray, depth: np.ndarray, truth: np.ndarray) -> tuple[float, float] | None:
    """Least median of squares over pairs of a near and a far point, then least squares over the inliers.

    None where the true depths, or those of the inliers, are too alike to tell a shift.
    """
    if _alike(truth):
        return None
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
        return None
    best = int(medians.argmin())
    agree = np.abs(scales[best] * x + shifts[best] * y - 1) <= _inlier_band(float(medians[best]))
    if agree.any() and _alike(truth[agree]):
        return None
    solution = np.linalg.lstsq(np.stack((x, y), axis=1)[agree], np.ones(int(agree.sum())), rcond=None)[0]
    return float(solution[0]), float(solution[1])


def _inlier_band(median_error: float) -> float:
    """2.5 robust standard deviations."""
    return max(_LEAST_INLIER_BAND, 2.5 * 1.4826 * median_error)


class ScaleTracker:
    """The smoothed correction of a stream of frames.

    correction: what holds for the frame of the last ``update``, None without any. last_fit: the newest that succeeded, as it was
    before it was smoothed; residual: of what was applied then. problem: why the last update brought none, empty where it did.
    disagree: the sparse depths contradict the depth, in this frame or less than ``HOLD_S`` before. max_residual: see ``fit``.
    """

    def __init__(self, mode: Mode, max_residual: float) -> None:
        self.correction: Correction | None = None
        self.last_fit: Fit | None = None
        self.residual = math.nan
        self.problem = ""
        self.disagree = False
        self._mode = mode
        self._max_residual = max_residual
        self._fitted_ns: int | None = None
        self._disagreed_ns: int | None = None

    def update(self, stamp_ns: int, depth: np.ndarray, truth: np.ndarray, inverse: bool) -> None:
        """A frame at ``stamp_ns`` with these true depths (see ``fit``), none of them where there are none at all."""
        self._forget(stamp_ns, inverse)
        shift = self.correction.shift if self.correction is not None else None
        found = fit(depth, truth, self._mode, inverse, self._max_residual, shift)
        if isinstance(found, NoFit):
            self.problem = found.why
            if found.disagree:
                self.disagree, self._disagreed_ns = True, stamp_ns
            return
        self.problem, self.last_fit = "", found
        self.disagree, self._disagreed_ns = False, None
        self.correction = self._smoothed(found.correction, stamp_ns)
        self.residual = residual(self.correction, depth, truth)
        if not self.residual <= min(self._max_residual, found.residual + LAG):
            self.correction, self.residual = found.correction, found.residual
        self._fitted_ns = stamp_ns

    def miss(self, stamp_ns: int, inverse: bool, problem: str) -> None:
        """A frame without any sparse depth, and why."""
        self._forget(stamp_ns, inverse)
        self.problem = problem

    def reset(self) -> None:
        """Begin anew: another camera, another place, another time."""
        self.correction, self._fitted_ns = None, None
        self.disagree, self._disagreed_ns = False, None

    def _forget(self, stamp_ns: int, inverse: bool) -> None:
        """A correction does not outlive ``HOLD_S``, a jump of the stamps back, or a change of the model's kind of depth.

        Nor does a disagreement; where the correction ends while that holds, the disagreement stays.
        """
        if self._disagreed_ns is not None and not _holds(self._disagreed_ns, stamp_ns):
            self.disagree, self._disagreed_ns = False, None
        if self.correction is None or self._fitted_ns is None:
            return
        if not _holds(self._fitted_ns, stamp_ns) or self.correction.inverse != inverse:
            self.correction, self._fitted_ns = None, None

    def _smoothed(self, new: Correction, stamp_ns: int) -> Correction:
        if self.correction is None or self._fitted_ns is None:
            return new
        weight = 1 - math.exp(-1e-9 * (stamp_ns - self._fitted_ns) / SMOOTHING_S)
        old = self.correction
        return Correction(old.scale + weight * (new.scale - old.scale), old.shift + weight * (new.shift - old.shift), new.inverse)


def _holds(since_ns: int, stamp_ns: int) -> bool:
    return 0 <= 1e-9 * (stamp_ns - since_ns) <= HOLD_S
