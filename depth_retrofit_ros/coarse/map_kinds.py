"""What the values of a stored map may mean, and how each becomes depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from depth_retrofit_ros.coarse.claim import ScaleClaim, stored_claim
from depth_retrofit_ros.coarse.disparity import FAR_SHARE

Kind = Literal["depth", "metric", "normalized", "disparity", "inverted-disparity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MILLIMETER = 1e-3  # of whole numbers that are metric: REP-118's raw form
NEAREST_SHARE = 0.5  # of a normalized map's median above its nearest: the distance of the nearest
FEW_LEVELS = 1024  # a map with no more distinct values than that is in steps
LEVEL_SAMPLES = 200_000  # values in which they are looked for
RARE = 0.05  # of the mean number of values at a level
DEBAND_RADIUS, DEBAND_ROUNDS = 4, 3  # cells, and times


@dataclass(frozen=True, slots=True)
class DepthMap:
    """depth: ``float32 [h, w]`` > 0, inf where nothing but sky is seen, NaN where unknown; claim: what it is; remarks: what was
    made of the file's values that their owner may want to know."""

    depth: np.ndarray
    claim: ScaleClaim
    remarks: tuple[str, ...]


def to_depth(values: np.ndarray, kind: Kind, whole: bool) -> DepthMap:
    """values: ``float32 [h, w]`` of that kind, in steps perhaps; whole: whether they were stored as whole numbers.

    - ``depth``: proportional to depth; ``metric``: metres, of whole numbers millimetres. 0 and NaN are unknown, inf is sky;
    - ``normalized``: depth stretched to a range, the smallest value the nearest, whose distance is lost; NaN and inf are unknown;
    - ``disparity``: the largest value is the nearest, scale and shift unknown; ``inverted-disparity``: the same upside down, such
      as 1 less a disparity from 0 to 1. NaN and inf are unknown.

    Raises ValueError, in words that follow the file's name, for values that cannot be of that kind.
    """
    remarks = []
    known = values[np.isfinite(values)]
    if known.size == 0 or not (known != 0).any():
        raise ValueError("nothing in it is known: all of it is 0, NaN or inf")
    if kind in ("depth", "metric") and (known < 0).any():
        raise ValueError(f"{kind} below 0: mark what is unknown as NaN or 0, or say --coarse-kind disparity or normalized")
    if step := step_of(known):
        values = without_steps(values, step)
        remarks.append("it is stored in few steps, which are smoothed within their width")
    if kind in ("depth", "metric"):
        unit = np.float32(MILLIMETER if kind == "metric" and whole else 1.0)
        depth = np.where(values > 0, values * unit, np.float32(np.nan))
        claim = stored_claim(metric=True) if kind == "metric" else ScaleClaim("up-to-scale", "never")
        return DepthMap(depth, claim, tuple(remarks))
    values = np.where(np.isfinite(values), values, np.float32(np.nan))
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    if kind == "normalized":
        above = values - np.float32(lowest)
        nearest = NEAREST_SHARE * float(np.nanmedian(above)) or NEAREST_SHARE * float(np.nanmean(above)) or 1.0
        return DepthMap(above + np.float32(nearest), ScaleClaim("affine", "never"), tuple(remarks))
    disparity = np.float32(highest) - values if kind == "inverted-disparity" else values
    if kind == "disparity" and lowest < 0:
        disparity = values - np.float32(lowest)
        remarks.append("its disparity goes below 0: its smallest counts as 0")
    floor = FAR_SHARE * float(np.nanmean(disparity, dtype=np.float64)) or 1.0
    return DepthMap(1 / (disparity + np.float32(floor)), ScaleClaim("disparity", "never"), tuple(remarks))


def step_of(known: np.ndarray) -> float:
    """The step in which values ``[n]`` are stored, such as 1 of 255; 0 where they have too many levels to be in steps, or too few.

    Levels that next to no pixel has do not count: they are between the steps, of what was compressed or made larger since.
    """
    sample = known[:: max(1, known.size // LEVEL_SAMPLES)]
    levels, counts = np.unique(sample, return_counts=True)
    levels = levels[counts >= RARE * sample.size / levels.size]
    if not 2 < levels.size <= min(FEW_LEVELS, sample.size // 8):
        return 0.0
    return float(np.median(np.diff(levels)))


def without_steps(values: np.ndarray, step: float) -> np.ndarray:
    """The map without the edges that its steps are: smoothed among neighbours a step or two away, and nowhere moved by more than
    half a step, which is all that is not known of a value. What is not finite stays as it is."""
    finite = np.isfinite(values)
    stored = np.where(finite, values, np.float32(0))
    low, high = stored - np.float32(0.5 * step), stored + np.float32(0.5 * step)
    # What is unknown stands far enough away to count for no neighbour.
    smooth = np.where(finite, values, np.float32(stored.max() + 1e3 * step))
    for _ in range(DEBAND_ROUNDS):
        smooth = cv2.bilateralFilter(smooth, 2 * DEBAND_RADIUS + 1, 1.5 * step, DEBAND_RADIUS)
        smooth = np.where(finite, np.clip(smooth, low, high), smooth)
    return np.where(finite & (values != 0), smooth, values)
