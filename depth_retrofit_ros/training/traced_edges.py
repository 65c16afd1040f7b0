"""Edges as foundation models draw them: a pixel or two wide, but not where they are, and not around everything.

After real answers (Depth Anything 2 and 3, Depth Pro, DPT, MiDaS, UniDepth): outlines wander by half a pixel to one, here and there
by many, are rounded, and neither grow nor shrink in the mean. Thin things are drawn as wide as a pixel, or fade towards what is
behind, break off or are missing; the holes between them are filled. Surfaces lose their relief and get blobs at the border, a
grid of patches, and clouds in the sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_retrofit_ros.training.fields import SPACES, averaged, from_space, in_space, patches, remove_thin, smooth_noise

THIN = (7, 5, 3)  # widths [px of the answer], up to which structures are dropped or merged
DROPPED = (0.08, 0.18, 0.3)  # share of those that is dropped by each in a map of mean severity
PATCH = 14  # side [px] of a vision transformer's patch
SKY = 1e-3  # within this of the largest ln depth, and that often, is sky
CLEAR = 0.05  # ln depth, by which a thin thing stands before what is behind


@dataclass(frozen=True, slots=True)
class Traced:
    """How the outlines of a foundation model differ from the true ones; lengths in pixels of its answer, ranges from which each map
    draws.

    moved: standard deviation of the displacement; tail: of its own logarithm over the image; along: length over which it is alike;
    smeared: σ of the edges' low-pass; dropped: severity, times ``DROPPED``; stored: share of the maps that are clamped or in 8 bit.
    """

    moved: tuple[float, float] = (0.4, 1.5)
    tail: float = 0.9
    along: tuple[float, float] = (5.0, 40.0)
    smeared: tuple[float, float] = (0.2, 1.1)
    dropped: tuple[float, float] = (0.0, 1.4)
    stored: float = 0.5

    def answer(self, rng: np.random.Generator, log: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """True ln depth float32 [h, w] → what is answered, at ``size`` (width, height), no finer."""
        sky = log >= log.max() - SKY
        moved_sky = _sky_of(rng, log, sky) if sky.mean() > SKY and rng.random() < 0.25 else log
        small = self._drawn(rng, self._wandering(rng, moved_sky, max(log.shape) / max(size)), size)
        for first in rng.permutation(2):
            small = (self._drop_thin, self._merge)[first](rng, small)
        if rng.random() < 0.3:
            small = _rounded(rng, small)
        if rng.random() < 0.5:
            small = cv2.bilateralFilter(small, 7, float(rng.uniform(0.02, 0.1)), float(rng.uniform(1.5, 4)))
        return _flaws(rng, self._smear(rng, small)).astype(np.float32)

    def _wandering(self, rng: np.random.Generator, log: np.ndarray, scale: float) -> np.ndarray:
        """Outlines displaced along with their neighbourhood, surfaces left; scale: pixels of ``log`` per pixel of the answer."""
        height, width = log.shape
        square, side = np.ones((3, 3), np.uint8), 2 * round(5 * scale) + 1
        outline = (cv2.dilate(log, square) - cv2.erode(log, square) > CLEAR).astype(np.float32)
        beside = np.minimum(1, 2 * cv2.blur(cv2.dilate(outline, np.ones((side, side), np.uint8)), (side, side)))
        waves = max(log.shape) / scale / np.exp(rng.uniform(*np.log(self.along)))
        how_much = beside * np.exp(self.tail * smooth_noise(rng, log.shape, waves / 2)) * (rng.uniform(*self.moved) * scale)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        x += how_much * smooth_noise(rng, log.shape, waves)
        y += how_much * smooth_noise(rng, log.shape, waves)
        return np.asarray(cv2.remap(log, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    @staticmethod
    def _drawn(rng: np.random.Generator, log: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Made smaller: averaged, but in patches what is thinner than a pixel is as near as it is, and a pixel wide."""
        mean = averaged(log, size, str(rng.choice(SPACES, p=[0.4, 0.45, 0.15])))
        cell = max(1, round(log.shape[1] / size[0]))
        near = cv2.resize(cv2.erode(log, np.ones((cell, cell), np.uint8)), size, interpolation=cv2.INTER_NEAREST_EXACT)
        thin = remove_thin(near, 3) - near > CLEAR
        return np.where(thin, mean + patches(rng, mean.shape, 30, rng.uniform(0, 1)) * (near - mean), mean)

    def _drop_thin(self, rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
        """Near structures thinner than ``THIN`` go to what is behind, in patches along them wholly, elsewhere a little."""
        severity, faded = rng.uniform(*self.dropped), rng.uniform(0, 0.4)
        kept = log + faded * (remove_thin(log, THIN[1]) - log)
        for width, share in zip(THIN, DROPPED, strict=True):
            log = log + patches(rng, log.shape, rng.uniform(8, 40), min(1.0, share * severity)) * (remove_thin(log, width) - log)
        return np.maximum(log, kept)

    def _merge(self, rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
        """Gaps between near structures are filled, in patches, by these or by something between them and what is behind."""
        width, share, filled = int(rng.choice(THIN)), rng.choice([0.0, rng.uniform(0, 0.7)]), rng.uniform(0.3, 1)
        return log - filled * patches(rng, log.shape, rng.uniform(15, 60), share) * (log + remove_thin(-log, width))

    def _smear(self, rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
        """A low-pass of nearly the same width everywhere."""
        space = str(rng.choice(SPACES, p=[0.4, 0.45, 0.15]))
        narrow = float(np.exp(rng.uniform(*np.log(self.smeared))))
        values, share = in_space(log, space), np.clip(0.5 + smooth_noise(rng, log.shape, 8), 0, 1)
        wide = cv2.GaussianBlur(values, (0, 0), narrow * rng.uniform(1, 1.8))
        return from_space(share * cv2.GaussianBlur(values, (0, 0), narrow) + (1 - share) * wide, space)


def _rounded(rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
    """Corners rounded and jagged outlines straightened, in patches."""
    round_once = cv2.medianBlur(np.ascontiguousarray(log, np.float32), 5)
    smooth = cv2.medianBlur(round_once, 5) if rng.random() < 0.5 else round_once
    return log + patches(rng, log.shape, 60, rng.uniform(0.2, 1)) * (smooth - log)


def _sky_of(rng: np.random.Generator, log: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """Sky as some models see it: clouds no farther than the farthest things."""
    things = log[~sky]
    level = np.quantile(things, rng.uniform(0.7, 1)) if things.size else log.max()
    clouds = level + rng.uniform(0.1, 0.4) * smooth_noise(rng, log.shape, rng.uniform(2, 5))
    return np.where(sky, np.minimum(clouds, log), log).astype(np.float32)


def _flaws(rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
    """A curve that stretches some depths and compresses others, blobs at the border, the patches' grid, noise."""
    knots = np.linspace(float(log.min()), float(log.max()) + 1e-3, 5)
    slopes = np.exp(rng.normal(0, rng.choice([0.0, 0.15, 0.3]), 4))
    curve = knots[0] + np.concatenate([[0], np.cumsum(slopes * np.diff(knots))])
    log = np.interp(log, knots, curve)
    if rng.random() < 0.25:
        log = log + _border_blob(rng, log.shape)
    if rng.random() < 0.3:
        log = log + rng.uniform(0.002, 0.02) * _patch_grid(rng, log.shape)
    return log + rng.choice([0.0, rng.uniform(0, 0.006)]) * rng.standard_normal(log.shape)


def _border_blob(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A bump of ln depth that leans on one side of the image."""
    height, width = shape
    along, side = rng.uniform(0, 1), int(rng.integers(4))
    x, y = ((along, 0.0), (along, 1.0), (0.0, along), (1.0, along))[side]
    radius = rng.uniform(0.04, 0.15) * max(shape)
    columns = np.exp(-(((np.arange(width) - x * width) / radius) ** 2))
    rows = np.exp(-(((np.arange(height) - y * height) / radius) ** 2))
    return np.asarray(rng.normal(0, 0.12) * rows[:, None] * columns)


def _patch_grid(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Unit noise that is constant in each patch of a vision transformer, or interpolated between their centres."""
    rows, columns = (-(-n // PATCH) for n in shape)
    how = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_LINEAR
    grid = cv2.resize(rng.standard_normal((rows, columns)), (columns * PATCH, rows * PATCH), interpolation=how)
    return np.asarray(grid[: shape[0], : shape[1]])
