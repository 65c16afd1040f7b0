"""Which tiles of a frame are looked at, and how what they answer becomes values at pixels, without seams.

Everything has a shape that the frame's size and the number of tiles decide: nothing waits for a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import row_and_column


@dataclass(frozen=True, slots=True)
class TileLayout:
    """All tiles that a frame could be cut into: ``side`` px square, each overlapping the next by at least ``overlap`` px.

    size: (H, W) of the frame, both at least ``side``. A row or column of tiles is spread evenly, its first and last tiles flush
    with the frame.
    """

    size: tuple[int, int]
    side: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.side <= min(self.size):
            raise ValueError(f"tiles of {self.side} px that overlap by {self.overlap} px do not fit a frame of {self.size}")

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return self._count(self.size[0]), self._count(self.size[1])

    @property
    def total(self) -> int:
        """Tiles of the whole frame."""
        rows, columns = self.counts
        return rows * columns

    def starts(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The first row ``int64 [R]`` and the first column ``int64 [C]`` of each row and column of tiles."""
        rows, columns = (self._starts(high, device) for high in self.size)
        return rows, columns

    def origins(self, tiles: Tensor) -> Tensor:
        """``int64 [T, 2]`` (y, x) of the first pixels of tiles given by flat number ``int64 [T]``."""
        rows, columns = self.starts(tiles.device)
        row, column = row_and_column(tiles, self.counts[1])
        return torch.stack((rows[row], columns[column]), 1)

    def deepest(self, axis: int) -> int:
        """In how many tiles of a row (axis 1) or column (axis 0) of tiles a pixel can lie."""
        count, high = self.counts[axis], self.size[axis]
        starts = [place * (high - self.side) // max(count - 1, 1) for place in range(count)]
        return max(sum(start < other + self.side for other in starts if other <= start) for start in starts)

    def _count(self, high: int) -> int:
        return 1 if high == self.side else -(-(high - self.side) // (self.side - self.overlap)) + 1

    def _starts(self, high: int, device: torch.device) -> Tensor:
        count = self._count(high)
        places = torch.arange(count, device=device)
        return torch.div(places * (high - self.side), max(count - 1, 1), rounding_mode="floor")


def held(layout: TileLayout, pixels: PixelSet) -> Tensor:
    """How many of the pixels each tile holds, ``int64 [total]``. The pixels' frame may be smaller than a tile."""
    height, width = pixels.size
    rows, columns = layout.starts(pixels.indices.device)
    along = pixels.mask().to(torch.int32).cumsum_(1)  # in place and in four bytes: the frame may be an 8K one
    last = along[:, (columns + layout.side).clamp_max(width) - 1]
    across = last - torch.where(columns > 0, along[:, (columns - 1).clamp_min(0)], 0)
    sums = torch.nn.functional.pad(across, (0, 0, 1, 0)).cumsum(0)
    return (sums[(rows + layout.side).clamp_max(height)] - sums[rows]).flatten()


def fullest(counts: Tensor, count: int) -> Tensor:
    """The flat numbers ``int64 [count]``, rising, of the tiles that hold most of the pixels, see ``held``; of equal ones the
    first."""
    total = counts.numel()
    order = counts * total + torch.arange(total - 1, -1, -1, device=counts.device)  # no two are equal
    return order.topk(count).indices.sort().values


def cut(values: Tensor, origins: Tensor, side: int) -> Tensor:
    """``[H, W, …]`` → ``[T, side, side, …]``: the tiles that begin at ``origins`` ``int64 [T, 2]``. Beyond the frame its border
    goes on."""
    places = torch.arange(side, device=values.device)
    rows, columns = ((origins[:, axis, None] + places).clamp_max(values.shape[axis] - 1) for axis in (0, 1))
    return values[rows[:, :, None], columns[:, None, :]]


class Blend(NamedTuple):
    """mean: ``[K, C]``, of the tiles that were seen, zero where none was; share: ``[K]`` 0…1, their part of the weight of all tiles
    of the layout that cover the pixel: 1 where all of these were seen, 0 where none was."""

    mean: Tensor
    share: Tensor


def blended(layout: TileLayout, tiles: Tensor, answers: Tensor, pixels: Tensor) -> Blend:
    """What tiles say at pixels: their mean, weighted by how far from its tile's nearest side each pixel is.

    tiles: ``int64 [T]``, flat numbers of those that were seen; answers: ``[T, side, side, C]``; pixels: ``int64 [K]``, flat. The
    weight of a tile falls to zero towards a side that another tile of the layout overlaps, seen or not. So ``share · mean``, in
    which tiles that were not seen say zero, jumps nowhere, where neither does an answer.
    """
    place = torch.full((layout.total,), -1, dtype=torch.int64, device=pixels.device)
    place[tiles] = torch.arange(tiles.numel(), device=pixels.device)
    flat = answers.flatten(0, 2)
    total, seen, every = flat.new_zeros(pixels.numel(), flat.shape[1]), *(flat.new_zeros(pixels.numel()) for _ in range(2))
    positions = row_and_column(pixels, layout.size[1])
    across = [_covering(layout, axis, position) for axis, position in enumerate(positions)]
    for row, dy, row_weight in across[0]:
        for column, dx, column_weight in across[1]:
            weight = (row_weight * column_weight).to(flat.dtype)
            every += weight
            index = place[row * layout.counts[1] + column]
            weight = torch.where(index >= 0, weight, 0.0)
            total += weight[:, None] * flat[(index.clamp_min(0) * layout.side + dy) * layout.side + dx]
            seen += weight
    return Blend(total / seen.clamp_min(torch.finfo(seen.dtype).tiny)[:, None], seen / every)


def _covering(layout: TileLayout, axis: int, position: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Along an axis, the tiles that can cover a pixel: their number, its place in them, and their weight there; 0 of those that
    do not cover it, whose number and place are valid all the same."""
    starts = layout.starts(position.device)[axis]
    last = torch.searchsorted(starts, position, right=True) - 1
    found = []
    for back in range(layout.deepest(axis)):
        number = (last - back).clamp_min(0)
        place = position - starts[number]
        inside = (last >= back) & (place < layout.side)
        place = place.clamp_max(layout.side - 1)
        to_side = torch.minimum(place, layout.side - 1 - place) + 0.5
        found.append((number, place, torch.where(inside, (to_side / max(layout.overlap, 0.5)).clamp_max(1.0), 0.0)))
    return found
