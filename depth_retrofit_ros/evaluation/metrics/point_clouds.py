"""How good a cloud of points is: accuracy, completeness and F-score by the definitions of ETH3D (Schöps et al., CVPR 2017).

Accuracy is the share of the reconstruction within a tolerance of the truth, completeness that of the truth within the tolerance of
the reconstruction, the F-score their harmonic mean. Each is averaged over voxels rather than over points, so that a surface counts
by its size and not by how often it was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_retrofit_ros.evaluation.metrics.nearest import NearestPoints

VOXEL_M = 0.01  # as ETH3D's own evaluation has it
_BITS = 21  # of a cell's number along each axis


@dataclass(frozen=True, slots=True)
class CloudScore:
    """At one tolerance, all in 0…1."""

    tolerance: float
    accuracy: float
    completeness: float

    @property
    def f_score(self) -> float:
        """The harmonic mean of both."""
        both = self.accuracy + self.completeness
        return 2 * self.accuracy * self.completeness / both if both else 0.0


@dataclass(frozen=True, slots=True)
class CloudComparison:
    """scores: one for each tolerance; accuracy, completeness: mean distances of the same names, in the unit of the points; less is
    better."""

    scores: tuple[CloudScore, ...]
    accuracy: float
    completeness: float

    @property
    def overall(self) -> float:
        """Their mean."""
        return (self.accuracy + self.completeness) / 2


def compare_clouds(cloud: np.ndarray, truth: np.ndarray, tolerances: Sequence[float], voxel: float = VOXEL_M) -> CloudComparison:
    """cloud, truth: ``float [N, 3]`` and ``[M, 3]``, finite, in one unit and one frame; voxel: side of the cells averaged over."""
    to_truth = NearestPoints(truth).distances(cloud)
    to_cloud = NearestPoints(cloud).distances(truth)
    cloud_cells, truth_cells = _cells(cloud, voxel), _cells(truth, voxel)
    scores = tuple(
        CloudScore(
            tolerance,
            _mean_over_cells((to_truth <= tolerance).astype(np.float64), cloud_cells),
            _mean_over_cells((to_cloud <= tolerance).astype(np.float64), truth_cells),
        )
        for tolerance in tolerances
    )
    return CloudComparison(scores, _mean_over_cells(to_truth, cloud_cells), _mean_over_cells(to_cloud, truth_cells))


def _cells(points: np.ndarray, voxel: float) -> np.ndarray:
    """For each point the number of its cell, ``int64 [N]``, counted from 0 without gaps."""
    indices = np.floor(points / voxel)
    indices -= indices.min(0)
    if indices.max() >= 1 << _BITS:
        raise ValueError(
            f"points over {indices.max() * voxel:.3g} of their unit are too many voxels of {voxel:g}: choose larger ones"
        )
    x, y, z = indices.astype(np.int64).T
    _, cells = np.unique((x << 2 * _BITS) | (y << _BITS) | z, return_inverse=True)
    return cells.reshape(-1)


def _mean_over_cells(values: np.ndarray, cells: np.ndarray) -> float:
    """The mean over the cells of the mean in each."""
    return float((np.bincount(cells, values) / np.bincount(cells)).mean())
