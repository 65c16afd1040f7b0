"""Successive coarse maps as one: their scale held steady, their noise averaged where the same surface is seen again.

Both are first-order low-passes in ln depth. Their time constants are in seconds, so that they do the same at any rate, and they
begin as plain means, so that the second frame already gains. The scale leaks towards the model's own: over a few seconds depth is
as large as the model says on average, and nothing drifts. Nor does it lag far behind a model that changes its mind: it stays near a
mean over a much shorter time, in which what is noise averages out and what lasts does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_retrofit_ros.temporal.motion import Motion

SCALE_S = 1.0  # time constant of the scale
RECENT_S, FARTHEST = 0.2, 0.03  # that of the mean which it stays near, and by how much of ln depth it may be off that
SHAPE_S = 0.5  # time constant of a cell's depth
LEAST_SHARE = 0.2  # of the cells that are known to be trusted, to tell the scale
LARGEST = math.log(1.5)  # a scale that jumps by more is a new one
NARROWEST, WIDEST = 0.03, 0.2  # |change of ln depth| beyond which a cell shows something new: five deviations, within these
DEVIATIONS = 5.0
SAME = 0.3  # agreement of all of the 3×3 cells around, from which a cell's edges have not moved
AROUND = 5, 5  # cells, over which the change of what stands still is a mean
STEP = 0.25  # of ln depth around a cell: there a map that was moved is not taken over


@dataclass(frozen=True, slots=True)
class CoarseState:
    """What the next frame takes over. log: ``float32 [h, w]`` ln depth as it was given out, NaN where it is unknown; count:
    ``float32 [h, w]``, how many frames each cell is the mean of; scale: ln of the factor on the model's own; frames: how many the
    scale is the mean of; recent: by how much of ln the mean over ``RECENT_S`` is larger."""

    log: np.ndarray
    count: np.ndarray
    scale: float
    frames: int
    recent: float


@dataclass(frozen=True, slots=True)
class Steadied:
    """factor: ``float32 [h, w]`` > 0 on the model's depth, exactly 1 where nothing was taken over and no scale is held; state: what
    the next frame takes over; change: ``float32 [h, w]``, ln(depth given out now / then) of what stands still around a cell; same:
    ``bool [h, w]``, where the model saw the same as before, but for noise, in the cell and in those around."""

    factor: np.ndarray
    state: CoarseState
    change: np.ndarray
    same: np.ndarray

    @property
    def scale(self) -> float:
        """The factor that all cells share."""
        return math.exp(self.state.scale)


def first(depth: np.ndarray) -> Steadied:
    """Of a frame that has none before it. depth: ``float32 [h, w]``, NaN where it is unknown."""
    state = CoarseState(np.log(depth), np.ones_like(depth), 0.0, 1, 0.0)
    return Steadied(np.ones_like(depth), state, np.zeros_like(depth), np.zeros(depth.shape, bool))


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
    scale, frames, recent = 0.0, 1, 0.0
    if scales and abs(median) <= LARGEST:
        frames = before.frames + 1
        held = -median * _share(frames, seconds, SCALE_S)  # how far either mean goes from where the scale was
        near = before.recent + (-median - before.recent) * _share(frames, seconds, RECENT_S)
        step = near + min(max(held - near, -FARTHEST), FARTHEST)
        scale, recent = step + median, near - step
    shape = difference - np.float32(median)
    noise = 1.4826 * float(np.median(np.abs(told - np.float32(median))))
    reach = np.float32(min(max(DEVIATIONS * noise, NARROWEST), WIDEST))
    agreement = np.square(np.clip(1 - np.square(shape / reach), 0, 1)) * trust
    same = cv2.erode((agreement > SAME).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if motion.flow is not None:  # what was resampled is smeared at steps
        agreement[_step(raw) > STEP] = 0
    count = 1 + motion.carried(before.count) * agreement
    weight = (1 - np.maximum(1 / count, np.float32(_share(10**9, seconds, SHAPE_S)))) * agreement
    moved = np.float32(scale) + weight * shape
    log = np.where(usable, raw + moved, np.float32(np.nan))
    # What is new in a cell is carried into the mean by so much; beside an edge, by as much as around.
    around = cv2.blur(agreement, AROUND) + np.float32(1e-3)
    change = np.float32(scale - median) - cv2.blur(agreement * (1 - weight) * shape, AROUND) / around
    if motion.change is not None:
        change = change + motion.change
    return Steadied(np.exp(moved), CoarseState(log, np.minimum(count, np.float32(1000)), scale, frames, recent), change, same)


def _step(log: np.ndarray) -> np.ndarray:
    """Highest less lowest of the 3×3 cells around."""
    window = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(log, window) - cv2.erode(log, window))


def _share(frames: int, seconds: float, constant_s: float) -> float:
    """Of the newest value in the mean."""
    return max(1.0 / frames, 1.0 - math.exp(-seconds / constant_s))
