"""What a frozen low-resolution model does to depth, simulated: the refiner must serve models that it has never met.

Low-pass with kernels that vary over the image, edges moved by up to two coarse pixels, near things grown, thin structures lost,
scale and low-frequency warps, relative (affine-inverse) depth, noise; and head features whose entropy is high near edges,
imperfectly. The edges of one map in four are only averaged or sampled, whatever its scale and warp. How much is lost, moved and
smeared is a ``Degradation``: a mild one, and a strong one as of models that are small or far from what they were trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LONG_SIDES = (64, 640)  # of a model's answer: METER says 64, Depth Anything at its own input size 518
CLEAN = 0.25  # share of maps whose edges are only averaged or sampled, as those of a sensor's depth made smaller
SURE = 6.0  # margin of the logits where the simulated model has no doubt


@dataclass(frozen=True, slots=True)
class Degradation:
    """How a simulated model spoils edges; lengths in pixels of its answer, ranges from which each map draws.

    loses: share of the maps that lose thin structures; thinner: than this (whole numbers, the upper one excluded); moved: standard
    deviation of the displacement of edges; smeared: σ of the wider of the two low-passes.
    """

    loses: float
    thinner: tuple[int, int]
    moved: tuple[float, float]
    smeared: tuple[float, float]


MILD = Degradation(loses=0.5, thinner=(2, 5), moved=(0.0, 0.9), smeared=(0.5, 1.9))
STRONG = Degradation(loses=0.8, thinner=(3, 8), moved=(0.5, 1.6), smeared=(1.0, 2.6))


def simulate_coarse(rng: np.random.Generator, depth: np.ndarray, degradation: Degradation = MILD) -> tuple[np.ndarray, np.ndarray]:
    """What a model might answer to a scene. Give it a finer view than the answer shall be, or equally fine.

    depth: float32 [h, w] m, finite, at a view's pixel centres → coarse depth float32 [h', w'], h' ≤ h, and head features float32
    [2, h', w'], whose softmax entropy is the model's doubt (the same everywhere for a model whose features tell nothing).
    """
    log = _resize(rng, np.log(depth))
    true_edges = _steps(log)
    if rng.random() >= CLEAN:
        log = _lose_thin_structures(rng, log, degradation.thinner) if rng.random() < degradation.loses else log
        log = _grow_near(log) if rng.random() < 0.2 else log
        log = _blur(rng, _displace(rng, log, degradation.moved), degradation.smeared)
        log = log + rng.uniform(0, 0.01) * rng.standard_normal(log.shape)
    log = log + _smooth_noise(rng, log.shape, rng.uniform(2, 6)) * rng.choice([0.0, 0.05, 0.15]) + rng.normal(0, 0.5)
    coarse = np.exp(log).astype(np.float32)
    if rng.random() < 0.35:
        coarse = _affine_inverse(rng, coarse)
    return coarse, _features(rng, coarse, true_edges)


def _steps(log: np.ndarray) -> np.ndarray:
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(log, kernel) - cv2.erode(log, kernel))


def _resize(rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
    """To the resolution of some model's output: averaged in log, inverse or plain depth, or sampled."""
    low, high = np.log(LONG_SIDES)
    scale = min(1.0, np.exp(rng.uniform(low, high)) / max(log.shape))
    size = (max(16, round(log.shape[1] * scale)), max(16, round(log.shape[0] * scale)))
    space = rng.choice(["log", "inverse", "depth", "sampled"], p=[0.35, 0.35, 0.15, 0.15])
    if space == "log":
        return np.asarray(cv2.resize(log, size, interpolation=cv2.INTER_AREA))
    if space == "sampled":
        return np.asarray(cv2.resize(log, size, interpolation=cv2.INTER_NEAREST_EXACT))
    sign = -1 if space == "inverse" else 1
    return np.asarray(sign * np.log(cv2.resize(np.exp(sign * log), size, interpolation=cv2.INTER_AREA)))


def _lose_thin_structures(rng: np.random.Generator, log: np.ndarray, thinner: tuple[int, int]) -> np.ndarray:
    """Closing removes near structures thinner than the kernel, everywhere or in patches."""
    size = int(rng.integers(*thinner))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # The erosion mirrors the dilation: with one and the same kernel of even size, a closing would move the image by a pixel.
    first, last = size // 2, size - 1 - size // 2
    closed = cv2.erode(cv2.dilate(log, kernel, anchor=(first, first)), np.flip(kernel).copy(), anchor=(last, last))
    share = _smooth_noise(rng, log.shape, 5) > rng.uniform(-1, 1)
    return np.where(share, closed, log)


def _grow_near(log: np.ndarray) -> np.ndarray:
    """Networks like to draw near things a pixel too large."""
    return np.asarray(cv2.erode(log, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))))


def _displace(rng: np.random.Generator, log: np.ndarray, moved: tuple[float, float]) -> np.ndarray:
    h, w = log.shape
    amount = rng.uniform(*moved)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    scale = rng.uniform(10, 40)
    x = x + amount * _smooth_noise(rng, (h, w), scale)
    y = y + amount * _smooth_noise(rng, (h, w), scale)
    return cv2.remap(log, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _blur(rng: np.random.Generator, log: np.ndarray, smeared: tuple[float, float]) -> np.ndarray:
    """A mix, varying over the image, of two Gaussian low-passes of log depth."""
    fine, wide = rng.uniform(0.1, 0.8), rng.uniform(*smeared)
    share = np.clip(0.5 + _smooth_noise(rng, log.shape, 6), 0, 1)
    return share * cv2.GaussianBlur(log, (0, 0), fine) + (1 - share) * cv2.GaussianBlur(log, (0, 0), wide)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], waves: float) -> np.ndarray:
    """Unit-variance noise with about ``waves`` waves along the long side."""
    n = max(2, round(waves))
    small = rng.standard_normal((max(2, round(n * shape[0] / max(shape))), max(2, round(n * shape[1] / max(shape)))))
    return np.asarray(cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _affine_inverse(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    """1 / (a/depth + b): what becomes of a relative model's disparity when its unknown shift is guessed."""
    inverse = 1 / depth
    shift = rng.uniform(-0.5, 1.0) * float(np.quantile(inverse, 0.05)) + rng.uniform(0, 0.15) * float(np.quantile(inverse, 0.95))
    return (1 / np.maximum(inverse + shift, 0.02 * inverse.max())).astype(np.float32)


def _features(rng: np.random.Generator, coarse: np.ndarray, true_edges: np.ndarray) -> np.ndarray:
    """Logits of two classes: undecided where the truth or the answer has edges, over a wandering floor; or flat."""
    if rng.random() < 0.35:
        return np.zeros((2, *coarse.shape), np.float32)
    answer = np.minimum(_steps(np.log(coarse)), 1)
    floor = np.abs(0.15 * _smooth_noise(rng, coarse.shape, 8) + 0.1)
    doubt = rng.uniform(0.2, 1) * np.minimum(true_edges, 1) + rng.uniform(0.2, 1) * answer + rng.uniform(0, 1) * floor
    doubt = cv2.GaussianBlur(doubt.astype(np.float32), (0, 0), rng.uniform(0.4, 1.0))
    certainty = SURE * (1 - doubt / max(float(doubt.max()), 1e-6))
    return np.stack([certainty, np.zeros_like(certainty)]).astype(np.float32)
