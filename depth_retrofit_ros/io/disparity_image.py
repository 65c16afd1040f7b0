"""Depth as the disparity [px] that a stereo camera of the same focal length and a chosen baseline would measure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from depth_retrofit_ros.device.kernel_cache import cached_njit


class DisparityRange(NamedTuple):
    """The smallest and the largest known disparity [px]; both the smallest positive number where nothing is known."""

    smallest: float
    largest: float


def fill_disparity(depth: np.ndarray, constant: float, out: np.ndarray) -> None:
    """depth: ``float32 [H, W]`` m; constant: focal length · baseline [px m]; out: ``float32 [H, W]`` px, 0 for what is no depth."""
    if depth.shape != out.shape or out.dtype != np.float32:
        raise ValueError(f"out must be float32 {list(depth.shape)}, not {out.dtype} {list(out.shape)}")
    _fill(depth, np.float32(constant), out)


def disparity(depth: torch.Tensor, constant: float) -> torch.Tensor:
    """``fill_disparity`` where the depth lies: ``float32 [H, W]``."""
    return torch.where((depth > 0) & (depth < torch.inf), constant / depth, 0.0)


def disparity_range(values: np.ndarray) -> DisparityRange:
    """Of ``float32 [H, W]``, 0 where unknown."""
    smallest, largest = _range(values)
    if not largest > 0:
        smallest = largest = float(np.finfo(np.float32).tiny)
    return DisparityRange(float(smallest), float(largest))


@cached_njit(nogil=True)
def _fill(depth: np.ndarray, constant: float, out: np.ndarray) -> None:
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            z = depth[row, column]
            known = z > np.float32(0.0) and z < np.float32(np.inf)  # written so that NaN fails
            out[row, column] = constant / (z if known else np.float32(1.0)) if known else np.float32(0.0)


@cached_njit(nogil=True)
def _range(values: np.ndarray) -> tuple[float, float]:
    smallest, largest = np.float32(np.inf), np.float32(0.0)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            value = values[row, column]
            largest = max(largest, value)
            smallest = min(smallest, value if value > np.float32(0.0) else np.float32(np.inf))
    return smallest, largest


def compile_disparity() -> None:
    """Compile both passes now instead of with the first image."""
    out = np.zeros((2, 2), np.float32)
    fill_disparity(np.ones((2, 2), np.float32), 1.0, out)
    disparity_range(out)
