"""Poses of one frame in another, as ROS writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Pose = tuple[float, ...]  # x y z [m] and a unit quaternion qx qy qz qw
IDENTITY: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def rotation_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """``float64 [3, 3]`` of a quaternion qx qy qz qw, which need not be exactly of unit length."""
    x, y, z, w = np.asarray(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
