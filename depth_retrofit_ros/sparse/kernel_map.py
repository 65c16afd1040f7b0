"""Kernel maps: for each output row of a sparse convolution, the input rows under its kernel.

In two dimensions the index image of a ``PixelSet`` answers "which row is the pixel at (y, x)?" in one look-up, so a map needs no
hash table and no sort. A map has a fixed number of columns; the row number K (one past the last) stands for an absent pixel, whose
features are zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from depth_retrofit_ros.sparse.pixel_set import PixelSet

ROWS_AT_ONCE = 1 << 16


def neighbor_map(pixels: PixelSet) -> torch.Tensor:
    """``int32 [K, 9]``: the rows of the 3x3 neighbours of each pixel in row-major order (column 4: the pixel itself), K if absent.

    This is the map of a submanifold convolution, whose output is active exactly where its input is (Graham & van der Maaten,
    arXiv 1706.01307). It mirrors: ``map[i, k] == j`` if and only if ``map[j, 8 - k] == i``.
    """
    height, width = pixels.size
    stride = width + 2
    bordered = pixels.index_image.new_full((height + 2, stride), -1)
    bordered[1:-1, 1:-1] = pixels.index_image
    lookup = bordered.flatten()

    center = pixels.indices + 2 * (pixels.indices // width) + (stride + 1)
    steps = torch.tensor([dy * stride + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)], device=center.device)
    rows = pixels.index_image.new_empty((pixels.count, 9))
    for start in range(0, pixels.count, ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        positions = center[start : start + ROWS_AT_ONCE, None] + steps
        torch.index_select(lookup, 0, positions.flatten(), out=part.view(-1))
        part.masked_fill_(part < 0, pixels.count)
    return rows


@dataclass(frozen=True, slots=True)
class Coarsening:
    """How K fine pixels fall into K' coarse ones.

    pixels: the coarse set, of size (ceil(H / 2), ceil(W / 2)): every 2x2 cell that holds an active pixel.
    children: ``int32 [K', 4]``, the fine rows of each cell in row-major order, K if absent.
    slots: ``int32 [K]``, where each fine pixel stands in ``children.flatten()``: 4 · its parent's row + its place in the cell.
    """

    pixels: PixelSet
    children: torch.Tensor
    slots: torch.Tensor


def coarsen(pixels: PixelSet) -> Coarsening:
    """Halve the resolution: the maps of a 2x2 convolution of stride 2 (``children``) and of its transpose (``slots``)."""
    height, width = pixels.size
    coarse_size = (height + 1) // 2, (width + 1) // 2
    y = pixels.indices // width
    x = pixels.indices - y * width

    cell = (y >> 1) * coarse_size[1] + (x >> 1)
    occupied = torch.zeros(coarse_size[0] * coarse_size[1], dtype=torch.bool, device=cell.device)
    occupied[cell] = True
    coarse = PixelSet.from_mask(occupied.view(coarse_size))

    parent = coarse.index_image.flatten()[cell]
    slots = 4 * parent + (2 * (y & 1) + (x & 1)).to(torch.int32)
    children = slots.new_full((4 * coarse.count,), pixels.count)
    children[slots.long()] = torch.arange(pixels.count, dtype=torch.int32, device=cell.device)
    return Coarsening(coarse, children.view(-1, 4), slots)
