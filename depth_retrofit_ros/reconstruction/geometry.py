"""Between a view's pixels, its camera and the world that the views have in common. Axes x right, y down, z forward."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera


def rays(camera: Camera) -> np.ndarray:
    """Where each pixel looks, at depth 1: ``float32 [3, H, W]``."""
    x, y = camera.ray_slopes()
    out = np.ones((3, camera.height, camera.width), np.float32)
    out[0], out[1] = x[None, :], y[:, None]
    return out


def inverse(pose: np.ndarray) -> np.ndarray:
    """World from camera of camera from world, or the other way around, ``[3, 4]``."""
    rotation = pose[:, :3].T
    return np.concatenate((rotation, -rotation @ pose[:, 3:]), 1)


def composed(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The pose that does ``first``, then ``second``, each ``[3, 4]``."""
    return np.concatenate((second[:, :3] @ first[:, :3], second[:, :3] @ first[:, 3:] + second[:, 3:]), 1)


def moved(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """points ``float [3, …]`` → the same, in the frame that ``pose [3, 4]`` leads to, ``float32``."""
    flat = pose[:, :3] @ points.reshape(3, -1) + pose[:, 3:]
    return flat.astype(np.float32).reshape(points.shape)
