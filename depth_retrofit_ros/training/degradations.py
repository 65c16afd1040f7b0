"""What a frozen low-resolution model does to depth, simulated: the refiner must serve models that it has never met.

Scale and low-frequency warps, relative (affine-inverse) depth, clamps, steps of 8 bit; and head features whose entropy is high near
edges, imperfectly. What becomes of the edges depends on the kind. ``REAL`` is measured on foundation models
(``traced_edges.Traced``). ``Smeared``: a low-pass that varies over the image, edges moved by up to two coarse pixels, near things
grown, thin structures lost, noise; mild, or strong as of models that are small or far from what they were trained on. The edges of
one smeared map in four are only averaged or sampled, whatever its scale and warp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from depth_retrofit_ros.training.fields import averaged, remove_thin, smooth_noise
from depth_retrofit_ros.training.traced_edges import Traced

LONG_SIDES = (64, 640)  # of a model's answer: METER says 64, Depth Anything at its own input size 518
CLEAN = 0.25  # share of smeared maps whose edges are only averaged or sampled, as those of a sensor's depth made smaller
SURE = 6.0  # margin of the logits where the simulated model has no doubt
LEVELS = 255  # steps of a map stored in 8 bit


class Degradation(Protocol):
    """A kind of simulated model. stored: share of its maps that are clamped or in 8 bit."""

    @property
    def stored(self) -> float: ...

    def answer(self, rng: np.random.Generator, log: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """True ln depth float32 [h, w] → that of the answer, at ``size`` (width, height), no finer."""
        ...


@dataclass(frozen=True, slots=True)
class Smeared:
    """How a model spoils edges that has lost their details; lengths in pixels of its answer, ranges from which each map draws.

    loses: share of the maps that lose thin structures; thinner: than this (whole numbers, the upper one excluded); moved: standard
    deviation of the displacement of edges; smeared: σ of the wider of the two low-passes; stored: see ``Degradation``.
    """

    loses: float
    thinner: tuple[int, int]
    moved: tuple[float, float]
    smeared: tuple[float, float]
    stored: float = 0.0

    def answer(self, rng: np.random.Generator, log: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """See ``Degradation.answer``."""
        log = _smaller(rng, log, size)
        if rng.random() < CLEAN:
            return log
        log = _lose_thin_structures(rng, log, self.thinner) if rng.random() < self.loses else log
        log = _grow_near(log) if rng.random() < 0.2 else log
        log = _blur(rng, _displace(rng, log, self.moved), self.smeared)
        return log + rng.uniform(0, 0.01) * rng.standard_normal(log.shape)


MILD = Smeared(loses=0.25, thinner=(2, 5), moved=(0.0, 0.9), smeared=(0.5, 1.9))
STRONG = Smeared(loses=0.5, thinner=(3, 8), moved=(0.5, 1.6), smeared=(1.0, 2.6))
REAL = Traced()
KINDS: tuple[tuple[Degradation, float], ...] = ((MILD, 0.25), (STRONG, 0.25), (REAL, 0.5))  # each with its share


def random_degradation(rng: np.random.Generator) -> Degradation:
    """One of ``KINDS``."""
    kinds, shares = zip(*KINDS, strict=True)
    return kinds[rng.choice(len(kinds), p=shares)]


def point_sampled(depth: np.ndarray, long_side: int, sky: float) -> np.ndarray:
    """A frame's true depth [H, W] m as ``simulate_coarse`` takes it: float32 [h, w] at the pixel centres of a smaller view, the
    unknown and infinite ``sky`` times as far as the farthest thing."""
    height, width = depth.shape
    scale = min(1, long_side / max(height, width))
    rows, columns = (((np.arange(n) + 0.5) * big / n).astype(int) for n, big in ((round(b * scale), b) for b in (height, width)))
    view = depth[np.ix_(rows, columns)]
    known = np.isfinite(view)
    return np.where(known, view, sky * view[known].max()).astype(np.float32)


def simulate_coarse(
    rng: np.random.Generator,
    depth: np.ndarray,
    degradation: Degradation = MILD,
    long_sides: tuple[int, int] = LONG_SIDES,
    warped: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """What a model might answer to a scene. Give it a finer view than the answer shall be, or equally fine.

    depth: float32 [h, w] m, finite, at a view's pixel centres; long_sides: between which the answer's long side [px] is drawn;
    warped: whether scale, shift and low frequencies are wrong as well as the edges →
    coarse depth float32 [h', w'], h' ≤ h, and head features float32 [2, h', w'], whose softmax entropy is the model's doubt (the
    same everywhere for a model whose features tell nothing).
    """
    true = np.log(depth)
    size = _random_size(rng, true.shape, long_sides)
    true_edges = _steps(cv2.resize(true, size, interpolation=cv2.INTER_AREA))
    log = degradation.answer(rng, true, size)
    if warped:
        log = log + smooth_noise(rng, log.shape, rng.uniform(2, 6)) * rng.choice([0.0, 0.05, 0.15]) + rng.normal(0, 0.5)
    coarse = np.exp(log).astype(np.float32)
    if warped and rng.random() < 0.35:
        coarse = _affine_inverse(rng, coarse)
    features = _features(rng, coarse, true_edges)
    return (_stored(rng, coarse) if rng.random() < degradation.stored else coarse), features


def _steps(log: np.ndarray) -> np.ndarray:
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(log, kernel) - cv2.erode(log, kernel))


def _random_size(rng: np.random.Generator, shape: tuple[int, ...], long_sides: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of some model's answer to a view of ``shape``."""
    low, high = np.log(long_sides)
    scale = min(1.0, np.exp(rng.uniform(low, high)) / max(shape))
    return max(16, round(shape[1] * scale)), max(16, round(shape[0] * scale))


def _smaller(rng: np.random.Generator, log: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """At the resolution of the answer: averaged in log, inverse or plain depth, or sampled."""
    space = rng.choice(["log", "inverse", "depth", "sampled"], p=[0.35, 0.35, 0.15, 0.15])
    if space == "sampled":
        return np.asarray(cv2.resize(log, size, interpolation=cv2.INTER_NEAREST_EXACT))
    return averaged(log, size, str(space))


def _lose_thin_structures(rng: np.random.Generator, log: np.ndarray, thinner: tuple[int, int]) -> np.ndarray:
    """Near structures thinner than a size in that range are lost, everywhere or in patches."""
    closed = remove_thin(log, int(rng.integers(*thinner)))
    share = smooth_noise(rng, log.shape, 5) > rng.uniform(-1, 1)
    return np.where(share, closed, log)


def _grow_near(log: np.ndarray) -> np.ndarray:
    """Networks like to draw near things a pixel too large."""
    return np.asarray(cv2.erode(log, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))))


def _displace(rng: np.random.Generator, log: np.ndarray, moved: tuple[float, float]) -> np.ndarray:
    h, w = log.shape
    amount = rng.uniform(*moved)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    scale = rng.uniform(10, 40)
    x = x + amount * smooth_noise(rng, (h, w), scale)
    y = y + amount * smooth_noise(rng, (h, w), scale)
    return cv2.remap(log, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _blur(rng: np.random.Generator, log: np.ndarray, smeared: tuple[float, float]) -> np.ndarray:
    """A mix, varying over the image, of two Gaussian low-passes of log depth."""
    fine, wide = rng.uniform(0.1, 0.8), rng.uniform(*smeared)
    share = np.clip(0.5 + smooth_noise(rng, log.shape, 6), 0, 1)
    return share * cv2.GaussianBlur(log, (0, 0), fine) + (1 - share) * cv2.GaussianBlur(log, (0, 0), wide)


def _affine_inverse(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    """1 / (a/depth + b): what becomes of a relative model's disparity when its unknown shift is guessed."""
    inverse = 1 / depth
    shift = rng.uniform(-0.5, 1.0) * float(np.quantile(inverse, 0.05)) + rng.uniform(0, 0.15) * float(np.quantile(inverse, 0.95))
    return (1 / np.maximum(inverse + shift, 0.02 * inverse.max())).astype(np.float32)


def _stored(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    """As it is stored: the nearest and the farthest clamped, in 255 steps of inverse depth or of depth, or both."""
    clamped, stepped = (True, True) if rng.random() < 0.2 else rng.permutation([True, False])
    inverse = rng.random() < 0.7
    values = 1 / depth if inverse else depth
    low, high = float(values.min()), float(values.max())
    if clamped:
        low, high = (float(v) for v in np.quantile(values, (rng.uniform(0, 0.15), rng.uniform(0.95, 1))))
    values = np.clip(values, low, high)
    if stepped and high > low:
        step = (high - low) / LEVELS
        values = low + np.round((values - low) / step) * step
    return np.asarray(1 / values if inverse else values, np.float32)


def _features(rng: np.random.Generator, coarse: np.ndarray, true_edges: np.ndarray) -> np.ndarray:
    """Logits of two classes: undecided where the truth or the answer has edges, over a wandering floor; or flat."""
    if rng.random() < 0.35:
        return np.zeros((2, *coarse.shape), np.float32)
    answer = np.minimum(_steps(np.log(coarse)), 1)
    floor = np.abs(0.15 * smooth_noise(rng, coarse.shape, 8) + 0.1)
    doubt = rng.uniform(0.2, 1) * np.minimum(true_edges, 1) + rng.uniform(0.2, 1) * answer + rng.uniform(0, 1) * floor
    doubt = cv2.GaussianBlur(doubt.astype(np.float32), (0, 0), rng.uniform(0.4, 1.0))
    certainty = SURE * (1 - doubt / max(float(doubt.max()), 1e-6))
    return np.stack([certainty, np.zeros_like(certainty)]).astype(np.float32)
