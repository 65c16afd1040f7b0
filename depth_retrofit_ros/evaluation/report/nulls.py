"""Figures that may be missing: null in JSON, None here, never NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np


def or_none(value: float) -> float | None:
    """A finite number, or None."""
    return float(value) if math.isfinite(value) else None


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of those that are not None; None without any."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def median_of(values: Iterable[float | None]) -> float | None:
    """The median of those that are not None; None without any."""
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def weighted_mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """The mean of those that are not None, by their weights; None where these have no weight."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None
