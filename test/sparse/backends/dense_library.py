"""A library to adapt that is always here: masked dense convolutions, behind the adapter that the others have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.backends.adapter import LibraryBackend
from depth_retrofit_ros.sparse.kernel_map import coarsen
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid
from test.sparse.dense_reference import dense_down, dense_up, to_dense, to_sparse


@dataclass(frozen=True, slots=True)
class DenseLevel(Level):
    """below: the pixels of the next coarser level."""

    below: PixelSet | None = None


class DenseLibrary(LibraryBackend):
    """``SparseBackend`` by dense convolutions. spoil: what is done to their weights first, where a test wants an error."""

    name = "dense"

    def __init__(self, spoil: Callable[[torch.Tensor], torch.Tensor] = lambda weight: weight) -> None:
        self.spoil = spoil

    def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
        built = []
        unused = pixels.index_image.new_empty(0, 9)
        for _ in range(levels - 1):
            down = coarsen(pixels)
            built.append(DenseLevel(self, pixels, unused, down.children, down.slots, below=down.pixels))
            pixels = down.pixels
        return Pyramid((*built, DenseLevel(self, pixels, unused)))

    def _same(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        return to_sparse(F.conv2d(to_dense(features, level.pixels), self.spoil(weight), padding=1), level.pixels)

    def _down(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        return to_sparse(dense_down(to_dense(features, level.pixels), self.spoil(weight), None), _below(level))

    def _up(self, features: torch.Tensor, weight: torch.Tensor, level: Level) -> torch.Tensor:
        fine = dense_up(to_dense(features, _below(level)), self.spoil(weight), None, level.pixels.size)
        return to_sparse(fine, level.pixels)


def _below(level: Level) -> PixelSet:
    assert isinstance(level, DenseLevel) and level.below is not None
    return level.below
