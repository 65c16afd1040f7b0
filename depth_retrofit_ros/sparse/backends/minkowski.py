"""MinkowskiEngine (Choy et al., arXiv 1904.08755), which the method's paper builds on, to compare with and to train by."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import MinkowskiEngine as ME
import torch
from MinkowskiEngineBackend._C import ConvolutionMode

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends.adapter import LibraryBackend
from depth_retrofit_ros.sparse.kernel_map import coarsen
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid


@dataclass(frozen=True, slots=True)
class MinkowskiLevel(Level):
    """manager: makes the library's maps when a convolution first needs them; keys: of this level and of the next coarser one."""

    manager: Any = None
    keys: tuple[Any, ...] = ()


class MinkowskiBackend(LibraryBackend):
    """``SparseBackend`` by MinkowskiEngine, in float32, with its gradients."""

    name = "minkowski"
    devices: tuple[str, ...] = ("cpu", "cuda") if ME.is_cuda_available() else ("cpu",)

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        """See ``SparseBackend``. Coordinates are (batch, y, x); those of level n are multiples of 2ⁿ."""
        kind = ME.CoordinateMapType.CUDA if pixels.indices.is_cuda else ME.CoordinateMapType.CPU
        manager = ME.CoordinateManager(D=2, coordinate_map_type=kind)
        keys, downs, sets = [], [], [pixels]
        for depth in range(levels):
            keys.append(_insert(manager, sets[depth], depth))
            if depth < levels - 1:
                downs.append(coarsen(sets[depth]))
                sets.append(downs[depth].pixels)
        unused = pixels.index_image.new_empty(0, 9)
        built = [
            MinkowskiLevel(self, level, unused, down.children, down.slots, manager=manager, keys=pair)
            for level, down, pair in zip(sets, downs, pairwise(keys), strict=False)
        ]
        return Pyramid((*built, MinkowskiLevel(self, sets[-1], unused, manager=manager, keys=(keys[-1],))))

    def _same(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        return _convolve(ME.MinkowskiConvolutionFunction, features, weight.permute(3, 2, 1, 0), level, 0, 0)

    def _down(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        return _convolve(ME.MinkowskiConvolutionFunction, features, weight.permute(3, 2, 1, 0), level, 0, 1)

    def _up(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        return _convolve(ME.MinkowskiConvolutionTransposeFunction, features, weight.permute(3, 2, 0, 1), level, 1, 0)


def _insert(manager: Any, pixels: PixelSet, depth: int) -> Any:
    """The key of a level's pixels, which keep their order; None for no pixels, on which the library crashes."""
    if not pixels.count:
        return None
    y = torch.div(pixels.indices, pixels.size[1], rounding_mode="floor")
    coordinates = torch.stack([torch.zeros_like(y), y << depth, (pixels.indices - y * pixels.size[1]) << depth], 1)
    return manager.insert_and_map(coordinates.int(), 1 << depth)[0]


def _convolve(function: Any, features: torch.Tensor, kernel: torch.Tensor, level: Level, source: int, target: int) -> torch.Tensor:
    """kernel: ``[x, y, Cin, Cout]``, y, the first coordinate, counting fastest; source, target: which of the level's keys."""
    assert isinstance(level, MinkowskiLevel)
    if features.dtype != torch.float32:
        raise ModelError(f"sparse backend 'minkowski' computes in float32, not in {features.dtype}: use that, or backend 'torch'")
    size = kernel.shape[0]
    generator = ME.KernelGenerator(kernel_size=size, stride=1 if source == target else size, dimension=2)
    flat = kernel.reshape(-1, *kernel.shape[2:]).contiguous()
    keys = level.keys
    return function.apply(features, flat, generator, ConvolutionMode.DEFAULT, keys[source], keys[target], level.manager)
