"""Whether what a refiner says of tiles depends on what it should not: the order they come in, and which others it sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Look = Callable[[Tensor], Tensor]
"""Tiles by number, ``int64 [T]``, seen together → what is said of each, ``[T, …]``."""


@torch.inference_mode()
def change_by_order(look: Look, tiles: Tensor, together: Tensor, generator: torch.Generator) -> float:
    """The largest difference from ``together``, the answers to the tiles as they come, when they come in another, random order."""
    order = torch.randperm(len(tiles), generator=generator).to(tiles.device)
    return float((together[order] - look(tiles[order])).abs().max())


@torch.inference_mode()
def each_alone(look: Look, tiles: Tensor) -> Tensor:
    """The answers to tiles of which none is seen beside another."""
    return torch.cat([look(tile) for tile in tiles.split(1)])
