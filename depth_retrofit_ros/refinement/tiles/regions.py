"""Coarse maps as tiles see them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.upsampling.interpolation import coarse_position


def regions(maps: Tensor, origins: Tensor, side: int, size: tuple[int, int], out: int) -> Tensor:
    """The part of coarse maps ``[C, h, w]`` that lies under each tile, bilinear, at ``out x out`` samples: ``[T, C, out, out]``.

    origins: ``int64 [T, 2]`` (y, x) of the tiles' first pixels in a frame of ``size = (H, W)``; side: of a tile [px]. A sample
    stands for ``side / out`` px; pixel areas align. Beyond the map its border goes on.
    """
    places = (torch.arange(out, device=maps.device) + 0.5) * (side / out) - 0.5
    axes = []
    for axis in (1, 0):  # x before y, as grid_sample takes them
        low = maps.shape[1 + axis]
        at = coarse_position(origins[:, axis, None] + places, low, size[axis])
        axes.append((at * 2 + 1) / low - 1)
    x, y = axes
    grid = torch.stack((x[:, None, :].expand(-1, out, -1), y[:, :, None].expand(-1, -1, out)), 3)
    return F.grid_sample(
        maps[None].expand(len(origins), -1, -1, -1),
        grid.to(maps.dtype),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
