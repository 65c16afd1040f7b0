"""What the simulated coarse models are made of: smooth random fields, and depth made smaller."""

from __future__ import annotations

import cv2
import numpy as np

SPACES = ("log", "inverse", "depth")  # in which depth is averaged


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], waves: float) -> np.ndarray:
    """Noise float32 [h, w] of about unit variance with about ``waves`` waves along the long side."""
    n = max(2, round(waves))
    small = rng.standard_normal((max(2, round(n * shape[0] / max(shape))), max(2, round(n * shape[1] / max(shape)))))
    return np.asarray(cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def patches(rng: np.random.Generator, shape: tuple[int, ...], length: float, share: float) -> np.ndarray:
    """0…1 float32 [h, w]: 1 in patches about ``length`` pixels long that cover about ``share`` of the image, soft at their rims."""
    field = smooth_noise(rng, shape, max(shape) / length)
    return np.clip(0.5 + 3 * (field - np.float32(np.quantile(field[::3, ::3], 1 - share))), 0, 1)


def in_space(log: np.ndarray, space: str) -> np.ndarray:
    """ln depth in one of ``SPACES``."""
    return log if space == "log" else np.exp(-log if space == "inverse" else log)


def from_space(values: np.ndarray, space: str) -> np.ndarray:
    """The inverse of ``in_space``."""
    return values if space == "log" else np.log(values) * (-1 if space == "inverse" else 1)


def averaged(log: np.ndarray, size: tuple[int, int], space: str) -> np.ndarray:
    """ln depth [h, w] averaged to ``size`` (width, height) in one of ``SPACES``."""
    return from_space(cv2.resize(in_space(log, space), size, interpolation=cv2.INTER_AREA), space)


def remove_thin(log: np.ndarray, size: int) -> np.ndarray:
    """ln depth without the near structures thinner than ``size`` pixels: a closing."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # The erosion mirrors the dilation: with one and the same kernel of even size, a closing would move the image by a pixel.
    first, last = size // 2, size - 1 - size // 2
    return np.asarray(cv2.erode(cv2.dilate(log, kernel, anchor=(first, first)), np.flip(kernel).copy(), anchor=(last, last)))
