"""What a frozen low-resolution model does to depth, simulated: the refiner must serve models that it has never met.

Low-pass with kernels that vary over the image, edges moved by up to two coarse pixels, thin structures lost, scale and
low-frequency warps, relative (affine-inverse) depth, noise; and an uncertainty map that is high near edges, imperfectly.
"""

from __future__ import annotations

import cv2
import numpy as np


def simulate_coarse(rng: np.random.Generator, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """depth: float32 [h, w] m, finite, at a coarse view's pixel centres → coarse depth and uncertainty ≥ 0, both [h', w']."""
    log = np.log(depth)
    true_edges = _steps(log)
    log = _lose_thin_structures(rng, log) if rng.random() < 0.5 else log
    log = _displace(rng, log)
    log = _resize(rng, log)
    log = _blur(rng, log)
    log = log + _smooth_noise(rng, log.shape, rng.uniform(2, 6)) * rng.choice([0.0, 0.05, 0.15])
    log = log + rng.normal(0, 0.5) + rng.uniform(0, 0.01) * rng.standard_normal(log.shape)
    coarse = np.exp(log).astype(np.float32)
    if rng.random() < 0.35:
        coarse = _affine_inverse(rng, coarse)
    return coarse, _uncertainty(rng, coarse, true_edges)


def _steps(log: np.ndarray) -> np.ndarray:
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(log, kernel) - cv2.erode(log, kernel))


def _lose_thin_structures(rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
    """Closing removes near structures thinner than the kernel, everywhere or in patches."""
    size = int(rng.integers(2, 5))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # The erosion mirrors the dilation: with one and the same kernel of even size, a closing would move the image by a pixel.
    first, last = size // 2, size - 1 - size // 2
    closed = cv2.erode(cv2.dilate(log, kernel, anchor=(first, first)), np.flip(kernel).copy(), anchor=(last, last))
    share = _smooth_noise(rng, log.shape, 5) > rng.uniform(-1, 1)
    return np.where(share, closed, log)


def _displace(rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
    h, w = log.shape
    amount = rng.uniform(0, 1.2)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    scale = rng.uniform(10, 40)
    x = x + amount * _smooth_noise(rng, (h, w), scale)
    y = y + amount * _smooth_noise(rng, (h, w), scale)
    return cv2.remap(log, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _resize(rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
    """To the resolution of some model's output: long side 64 (METER) … 256, mostly finer, in depth or in inverse depth."""
    long_side = 256 * rng.uniform(0.25, 1.0)
    scale = min(1.0, long_side / max(log.shape))
    size = (max(16, round(log.shape[1] * scale)), max(16, round(log.shape[0] * scale)))
    if rng.random() < 0.5:
        return np.asarray(cv2.resize(log, size, interpolation=cv2.INTER_AREA))
    return -np.log(cv2.resize(np.exp(-log), size, interpolation=cv2.INTER_AREA))


def _blur(rng: np.random.Generator, log: np.ndarray) -> np.ndarray:
    """A mix, varying over the image, of two Gaussian low-passes of log depth."""
    fine, wide = rng.uniform(0.3, 0.8), rng.uniform(0.7, 1.6)
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


def _uncertainty(rng: np.random.Generator, coarse: np.ndarray, true_edges: np.ndarray) -> np.ndarray:
    """High where the truth or the answer has edges, over a wandering floor: an entropy map as models really give it."""
    size = (coarse.shape[1], coarse.shape[0])
    kernel = np.ones((3, 3), np.uint8)
    truth = np.minimum(cv2.resize(cv2.dilate(true_edges, kernel), size, interpolation=cv2.INTER_AREA), 1)
    answer = np.minimum(_steps(np.log(coarse)), 1)
    floor = np.abs(0.15 * _smooth_noise(rng, coarse.shape, 8) + 0.1)
    score = rng.uniform(0.2, 1) * truth + rng.uniform(0.2, 1) * answer + rng.uniform(0, 1) * floor
    return cv2.GaussianBlur(score.astype(np.float32), (0, 0), rng.uniform(0.5, 1.2))
