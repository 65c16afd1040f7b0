"""The levels that a sparse U-Net walks through, with the maps that all convolutions of a level share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from depth_retrofit_ros.sparse.kernel_map import Coarsening, coarsen, neighbor_map
from depth_retrofit_ros.sparse.pixel_set import PixelSet

if TYPE_CHECKING:
    from depth_retrofit_ros.sparse.backends.registry import SparseBackend


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a frame's active pixels.

    backend: computes the convolutions on this level. pixels: the K active pixels. neighbors: ``int32 [K, 9]`` rows, or what
    the backend makes of them.
    children: ``int32 [K', 4]``, rows of this level under each pixel of the next coarser level; slots: ``int32 [K]``, the place of
    each row in ``children.flatten()``. Both are None at the coarsest level.

    A backend may give a level as many rows as it can ever need, so that shapes do not depend on the image. Then ``active`` (and
    ``coarse_active`` for the next level), ``int32 [1]`` on the device, says how many rows, from the first on, are in use; what the
    others hold means nothing.
    """

    backend: SparseBackend
    pixels: PixelSet
    neighbors: torch.Tensor
    children: torch.Tensor | None = None
    slots: torch.Tensor | None = None
    active: torch.Tensor | None = None
    coarse_active: torch.Tensor | None = None

    @property
    def count(self) -> int:
        """K, the number of active pixels of this level."""
        return self.pixels.count

    def maps_to_coarser(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(children, slots). Raises ValueError at the coarsest level."""
        if self.children is None or self.slots is None:
            raise ValueError("the coarsest level of a pyramid has nothing below it: build the pyramid with one more level")
        return self.children, self.slots


def check_rows(features: torch.Tensor, count: int) -> None:
    """Raise ValueError unless the features are those of the level's pixels; a longer tensor would be read without complaint."""
    if features.ndim != 2 or features.shape[0] != count:
        raise ValueError(f"features {list(features.shape)} do not belong to this level: expected [{count}, channels]")


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Levels from the frame's own resolution (first) to the coarsest, each half the size of the one before."""

    levels: tuple[Level, ...]

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, depth: int) -> Level:
        return self.levels[depth]


def build_pyramid(
    pixels: PixelSet,
    levels: int,
    backend: SparseBackend,
    neighbors: Callable[[PixelSet], torch.Tensor] = neighbor_map,
    halve: Callable[[PixelSet], Coarsening] = coarsen,
) -> Pyramid:
    """Build every map of a frame once. levels: number of resolutions, at least 1; the last two: what makes the maps."""
    if levels < 1:
        raise ValueError(f"a pyramid needs at least one level, not {levels}")
    built = []
    for _ in range(levels - 1):
        down = halve(pixels)
        built.append(Level(backend, pixels, neighbors(pixels), down.children, down.slots))
        pixels = down.pixels
    built.append(Level(backend, pixels, neighbors(pixels)))
    return Pyramid(tuple(built))
