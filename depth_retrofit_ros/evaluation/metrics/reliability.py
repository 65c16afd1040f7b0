"""Whether a stated confidence is what happens, and whether it finds the errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 10
RISKS = ("aurc", "aurc_best", "ause", "wrong")
SHARES = np.linspace(0, 0.95, 20)  # of the pixels that are left out, least confident first


@dataclass(frozen=True, slots=True)
class Reliability:
    """By stated confidence, in ``BINS`` equal bins of 0…1: stated: its mean; right: share of the pixels that are right; share: of
    all pixels; NaN for the first two of an empty bin."""

    stated: np.ndarray
    right: np.ndarray
    share: np.ndarray

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, which is the area between curve and diagonal when pixels are spread evenly along it: the mean
        of |right − stated| over the pixels, by bins."""
        used = self.share > 0
        return float((self.share[used] * np.abs(self.right - self.stated)[used]).sum())

    @property
    def area(self) -> float:
        """The mean of |right − stated| over the bins that hold at least 1 % of the pixels."""
        used = self.share >= 0.01
        return float(np.abs(self.right - self.stated)[used].mean()) if used.any() else float("nan")


def reliability(confidence: np.ndarray, right: np.ndarray) -> Reliability:
    """confidence ``[n]`` 0…1; right ``bool [n]``; pixels of unknown confidence (NaN) are left out."""
    known = ~np.isnan(confidence)
    stated, hit = confidence[known].astype(np.float64), right[known].astype(np.float64)
    bins = np.minimum((stated * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, values, BINS) / counts for values in (stated, hit)]
        return Reliability(means[0], means[1], counts / counts.sum())


def risk_areas(confidence: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """``aurc``: the mean share of wrong pixels among those kept, as the least confident are left out; ``aurc_best``: of a
    confidence that knows the truth; ``ause``: the difference; ``wrong``: the share of wrong pixels among all."""
    known = ~np.isnan(confidence)
    wrong = ~right[known]
    order = np.argsort(-confidence[known], kind="stable")
    kept = np.maximum(1, np.round((1 - SHARES) * wrong.size).astype(int)) - 1
    if not wrong.size:
        return dict.fromkeys(RISKS, float("nan"))
    risk, best = (float((np.cumsum(w)[kept] / (kept + 1)).mean()) for w in (wrong[order], np.sort(wrong)))
    return {"aurc": risk, "aurc_best": best, "ause": risk - best, "wrong": float(wrong.mean())}
