"""REP-118's raw form of a depth image: 16-bit millimetres, 0 where unknown, half the size of float metres."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit

FARTHEST_M = 65.535


def fill_millimeters(depth: np.ndarray, out: np.ndarray) -> None:
    """depth: ``float32 [H, W]`` metres; out: ``uint16 [H, W]``, written in one pass: rounded, 0 for what is no depth or too far."""
    if depth.shape != out.shape or out.dtype != np.uint16:
        raise ValueError(f"out must be uint16 {list(depth.shape)}, not {out.dtype} {list(out.shape)}")
    _fill(depth, out)


@cached_njit(nogil=True)
def _fill(depth: np.ndarray, out: np.ndarray) -> None:
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            rounded = depth[row, column] * np.float32(1000.0) + np.float32(0.5)
            # Written so that NaN, zero, negative and far depths all fail.
            out[row, column] = np.uint16(rounded) if rounded >= 1.0 and rounded < 65536.0 else np.uint16(0)


def compile_millimeters() -> None:
    """Compile ``fill_millimeters`` now instead of with the first image."""
    fill_millimeters(np.ones((2, 2), np.float32), np.zeros((2, 2), np.uint16))
