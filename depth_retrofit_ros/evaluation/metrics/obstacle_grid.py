"""What a planner makes of a cloud: cells of the ground that hold an obstacle, as Nav2's voxel layer marks them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ObstacleGrid:
    """Points of the optical frame (x right, y down, z forward) of a camera that looks along the ground.

    cell: side [m]. low, high: heights above the camera between which a point is an obstacle [m]. reach: how far from it, along the
    ground [m]. marks: points that make a cell an obstacle.
    """

    cell: float = 0.1
    low: float = -0.6
    high: float = 0.6
    reach: float = 8.0
    marks: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(cells forward, cells across)."""
        ahead = int(np.ceil(self.reach / self.cell))
        return ahead, 2 * ahead

    def marked(self, points: np.ndarray) -> np.ndarray:
        """``float32 [..., 3 or more]``, NaN where there is none → the cells with an obstacle, ``bool [size]``."""
        x, y, z = (points[..., axis].reshape(-1) for axis in range(3))
        with np.errstate(invalid="ignore"):
            counted = (-y >= self.low) & (-y <= self.high) & (np.hypot(x, z) <= self.reach) & (z > 0)
        rows, columns = self.size
        row = np.minimum((z[counted] / self.cell).astype(np.int64), rows - 1)
        column = np.clip(np.floor(x[counted] / self.cell).astype(np.int64) + columns // 2, 0, columns - 1)
        found = np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns)
        return np.asarray(found >= self.marks)


def false_obstacles(marked: np.ndarray, true: np.ndarray) -> int:
    """Cells marked ``bool [h, w]`` that are free: neither they nor any of the eight around hold a true surface."""
    padded = np.pad(true, 1)
    near = np.zeros_like(true)
    for dy in range(3):
        for dx in range(3):
            near |= padded[dy : dy + true.shape[0], dx : dx + true.shape[1]]
    return int((marked & ~near).sum())
