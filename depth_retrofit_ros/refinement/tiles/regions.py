"""Coarse maps as tiles see them."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.upsampling.interpolation import coarse_position, sample_grids


def regions(maps: Tensor, origins: Tensor, side: int, size: tuple[int, int], out: int) -> Tensor:
    """The part of coarse maps ``[C, h, w]`` that lies under each tile, bilinear, at ``out x out`` samples: ``[T, C, out, out]``.

    origins: ``int64 [T, 2]`` (y, x) of the tiles' first pixels in a frame of ``size = (H, W)``; side: of a tile [px]. A sample
    stands for ``side / out`` px; pixel areas align. Beyond the map its border goes on.
    """
    places = (torch.arange(out, device=maps.device) + 0.5) * (side / out) - 0.5
    y, x = (coarse_position(origins[:, axis, None] + places, maps.shape[1 + axis], size[axis]) for axis in (0, 1))
    return sample_grids(maps, y, x)
