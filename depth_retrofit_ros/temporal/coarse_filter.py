"""Successive coarse maps as one: their scale held steady, their noise averaged where the same surface is seen again.

Both are first-order low-passes in ln depth. Their time constants are in seconds, so that they do the same at any rate, and they
begin as plain means, so that the second frame already gains. The scale leaks towards the model's own: over a few seconds depth is
as large as the model says on average, and nothing drifts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_retrofit_ros.temporal.motion import Motion

SCALE_S = 1.0  # time constant of the scale
SHAPE_S = 0.5  # time constant of a cell's depth
LEAST_SHARE = 0.2  # of the cells that are known to be trusted, to tell the scale
LARGEST = math.log(1.5)  # a scale that jumps by more is a new one
NARROWEST, WIDEST = 0.03, 0.2  # |change of ln depth| beyond which a cell shows something new: five deviations, within these
DEVIATIONS = 5.0
STEP = 0.25  # of ln depth around a cell: there a map that was moved is not taken over


@dataclass(frozen=True, slots=True)
class CoarseState:
    """What the next frame takes over. log: ``float32 [h, w]`` ln depth as it was given out, NaN where it is unknown; count:
    ``float32 [h, w]``, how many frames each cell is the mean of; scale: ln of the factor on the model's own; frames: how many the
    scale is the mean of."""

    log: np.ndarray
    count: np.ndarray
    scale: float
    frames: int


@dataclass(frozen=True, slots=True)
class Steadied:
    """factor: ``float32 [h, w]`` > 0 on the model's depth, exactly 1 where nothing was taken over and no scale is held; state: what
    the next frame takes over."""

    factor: np.ndarray
    state: CoarseState

    @property
    def scale(self) -> float:
        """The factor that all cells share."""
        return math.exp(self.state.scale)


def first(depth: np.ndarray) -> Steadied:
    """Of a frame that has none before it. depth: ``float32 [h, w]``, NaN where it is unknown."""
    state = CoarseState(np.log(depth), np.ones_like(depth), 0.0, 1)
    return Steadied(np.ones_like(depth), state)


def steadied(before: CoarseState, depth: np.ndarray, usable: np.ndarray, motion: Motion, seconds: float, scales: bool) -> Steadied:
    """depth: ``float32 [h, w]`` as the model gave it; usable: ``bool [h, w]``, where it is known and finite; seconds: since the
    frame before; scales: whether the scale may be changed, which is not ours where a sensor or a file gave it."""
    raw = np.log(np.where(usable, depth, np.float32(1)))
    carried = motion.carried(before.log)
    if motion.change is not None:
        carried = carried + motion.change
    difference = carried - raw
    sound = usable & np.isfinite(difference)
    difference = np.where(sound, difference, np.float32(0))
    trust = np.where(sound, motion.trust, np.float32(0))
    told = difference[trust > 0.5]
    if told.size <= LEAST_SHARE * np.count_nonzero(usable):  # too little is seen again: what was held is let go
        return first(np.where(usable, depth, np.float32(np.nan)))
    median = float(np.median(told))
    scale, frames = 0.0, 1
    if scales and abs(median) <= LARGEST:
        frames = before.frames + 1
        scale = median * (1 - _share(frames, seconds, SCALE_S))
    shape = difference - np.float32(median)
    noise = 1.4826 * float(np.median(np.abs(told - np.float32(median))))
    reach = np.float32(min(max(DEVIATIONS * noise, NARROWEST), WIDEST))
    agreement = np.square(np.clip(1 - np.square(shape / reach), 0, 1)) * trust
    if motion.flow is not None:  # what was resampled is smeared at steps
        agreement[_step(raw) > STEP] = 0
    count = 1 + motion.carried(before.count) * agreement
    weight = (1 - np.maximum(1 / count, np.float32(_share(10**9, seconds, SHAPE_S)))) * agreement
    moved = np.float32(scale) + weight * shape
    log = np.where(usable, raw + moved, np.float32(np.nan))
    return Steadied(np.exp(moved), CoarseState(log, np.minimum(count, np.float32(1000)), scale, frames))


def _step(log: np.ndarray) -> np.ndarray:
    """Highest less lowest of the 3×3 cells around."""
    window = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(log, window) - cv2.erode(log, window))


def _share(frames: int, seconds: float, constant_s: float) -> float:
    """Of the newest value in the mean."""
    return max(1.0 / frames, 1.0 - math.exp(-seconds / constant_s))
