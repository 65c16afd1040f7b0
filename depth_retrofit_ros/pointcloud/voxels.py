"""A dense cloud of few points: one for each voxel, and no more than so many.

Voxels are the cells of the grid of ``voxel_size`` through the origin of the optical frame; points are in the order in which the
image's rows meet their voxels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from depth_retrofit_ros.pointcloud.ray_grid import Rays

BITS = 21  # of a cell's number along each axis
GOLDEN = 0.6180339887498949
_HALF = 1 << (BITS - 1)


def taken(count: int, most: int) -> np.ndarray:
    """Which of ``count`` points are left of at most ``most``, ``int64``: one of each of as many equal parts, at a place within its
    part that is always the same and follows no period of the image."""
    if most <= 0 or count <= most:
        return np.arange(count)
    ends = np.arange(most + 1) * count // most
    return ends[:-1] + ((np.arange(most) * GOLDEN) % 1.0 * np.diff(ends)).astype(np.int64)


def cloud_points(kept: Tensor, image: Tensor, rays: Rays[Tensor]) -> tuple[Tensor, Tensor]:
    """The points of kept depth ``[h, w]`` and their colors ``uint8 [h, w, 3]``: ``float32 [N, 3]`` each, row by row.

    Waits for the device: the number of points must be known.
    """
    there = kept.isfinite()
    xyz = torch.stack((rays.x * kept, rays.y * kept, kept), -1)
    return xyz[there], image[there].float()


def voxel_points(points: Tensor, colors: Tensor, size: float, centroid: bool) -> tuple[Tensor, Tensor]:
    """One point of each voxel, with its color; the mean of both where ``centroid``, else the first. The specification of
    ``voxels_cpu``."""
    if not len(points):
        return points, colors
    cells = (points * (1.0 / np.float32(size))).floor().clamp(-_HALF, _HALF - 1).long() + _HALF
    keys = (cells[:, 0] << (2 * BITS)) | (cells[:, 1] << BITS) | cells[:, 2]
    _, of, counts = keys.unique(return_inverse=True, return_counts=True)
    index = torch.arange(len(points), device=points.device)
    first = torch.full_like(counts, len(points)).scatter_reduce_(0, of, index, "amin")
    order = first.argsort()
    if not centroid:
        return points[first[order]], colors[first[order]]
    sums = torch.zeros((len(counts), 6), dtype=torch.float64, device=points.device)
    sums.index_add_(0, of, torch.cat((points, colors), 1).double())
    means = (sums / counts[:, None])[order]
    return means[:, :3].float(), means[:, 3:].round().float()


def packed_points(points: Tensor, colors: Tensor, intensity: bool) -> Tensor:
    """x y z and color as ``float32 [N, 4]``, see ``organized.fill_cloud``; or the luminance."""
    if intensity:
        last = colors @ torch.tensor((0.299, 0.587, 0.114), device=colors.device)
    else:
        red, green, blue = colors.round().int().unbind(1)
        last = ((red << 16) | (green << 8) | blue).view(torch.float32)
    return torch.cat((points, last[:, None]), 1)
