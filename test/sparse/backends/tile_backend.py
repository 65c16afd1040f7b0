"""The same networks on tiles: dense convolutions on batches of small squares, masked per pixel.

Only tiles that hold an active pixel are computed, each with its one-pixel rim gathered from the image. What is left is dense
convolutions of fixed shapes, gathers and scatters: what exporters to inference libraries accept.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.backends.torch import TorchBackend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid, build_pyramid


class TileBackend(TorchBackend):
    """``SparseBackend`` on tiles of side ``tile``."""

    name = "tiles"

    def __init__(self, tile: int) -> None:
        self.tile = tile

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        return build_pyramid(pixels, levels, self)

    def submanifold_conv(
        self,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        level: Level,
        *,
        relu_input: bool = False,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        tiles = Tiles(level.pixels, self.tile)
        out = tiles.gather(F.conv2d(tiles.cut(features.relu() if relu_input else features, rim=1), weight, bias))
        return out if residual is None else out + residual

    def down_conv(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, level: Level) -> torch.Tensor:
        fine = Tiles(level.pixels, self.tile)
        coarse = F.conv2d(fine.cut(features, rim=0), weight, bias, stride=2)
        return Tiles(coarse_pixels(level), self.tile // 2).gather(coarse)

    def up_conv(
        self,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        level: Level,
        *,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        coarse = Tiles(coarse_pixels(level), self.tile // 2)
        out = Tiles(level.pixels, self.tile).gather(F.conv_transpose2d(coarse.cut(features, rim=0), weight, bias, stride=2))
        return out if residual is None else out + residual


class Tiles:
    """Which tiles of an image of active pixels hold any of them."""

    def __init__(self, pixels: PixelSet, tile: int) -> None:
        self.pixels, self.tile = pixels, tile
        self.rows, self.columns = (-(-side // tile) for side in pixels.size)
        y, x = pixels.indices // pixels.size[1], pixels.indices % pixels.size[1]
        number = y // tile * self.columns + x // tile
        self.active = number.unique()
        self.place = torch.searchsorted(self.active, number), y % tile, x % tile

    def cut(self, features: torch.Tensor, rim: int) -> torch.Tensor:
        """``[K, C]`` → ``[tiles, C, tile + 2 · rim, tile + 2 · rim]``, zero where inactive."""
        height, width = self.rows * self.tile, self.columns * self.tile
        dense = features.new_zeros(features.shape[1], height + 2 * rim, width + 2 * rim)
        y, x = self.pixels.indices // self.pixels.size[1], self.pixels.indices % self.pixels.size[1]
        dense[:, y + rim, x + rim] = features.T
        windows = dense.unfold(1, self.tile + 2 * rim, self.tile).unfold(2, self.tile + 2 * rim, self.tile)
        return windows.flatten(1, 2)[:, self.active].transpose(0, 1)

    def gather(self, tiles: torch.Tensor) -> torch.Tensor:
        """``[tiles, C, tile, tile]`` → ``[K, C]``: the mask, as only active pixels are read."""
        which, y, x = self.place
        return tiles[which, :, y, x]


def coarse_pixels(level: Level) -> PixelSet:
    """Those of the next coarser level, from this one's maps."""
    _, slots = level.maps_to_coarser()
    height, width = level.pixels.size
    y, x = level.pixels.indices // width // 2, level.pixels.indices % width // 2
    size = (height + 1) // 2, (width + 1) // 2
    indices = (y * size[1] + x)[slots.long().argsort()].unique_consecutive()
    return PixelSet.from_indices(indices, size)
