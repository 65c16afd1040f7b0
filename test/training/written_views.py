"""A pool's coarse view written down instead of rendered."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LOW_SIDE, F_LOW = 256, 200.0  # the focal length of a frame of that long side, both in px


def write_view(path: Path, depth: np.ndarray) -> Path:
    """A coarse view whose brightness tells the depth: 50 below 4 m, 200 beyond, blue in the sky."""
    image = np.where(depth[..., None] < 4, 50, 200).repeat(3, 2).astype(np.uint8)
    image[np.isinf(depth)] = (0, 0, 255)
    frame = np.array([10 * depth.shape[1], 10 * depth.shape[0]])
    f_px = np.array(F_LOW * frame.max() / LOW_SIDE)
    np.savez(path, view=image, view_depth=depth.astype(np.float32), frame=frame, f_px=f_px)
    return path


def step_depth(column: int = 100, near: float = 2.0, far: float = 8.0) -> np.ndarray:
    """A step between two depths, [144, 256]."""
    depth = np.full((144, 256), far)
    depth[:, :column] = near
    return depth
