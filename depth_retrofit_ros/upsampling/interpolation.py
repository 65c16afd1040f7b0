"""The one pixel convention of all grids over the same field of view: pixel *areas* align (half-pixel exact).

The centre of fine pixel x of ``high`` lies at coarse position ``(x + 0.5) · low / high − 0.5``. The formulas are written once, for
NumPy arrays (tables for compiled kernels) and torch tensors (on whatever device they are) alike.
"""

from __future__ import annotations

import functools
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

Mode = Literal["planar", "nearest", "bilinear"]
Table = tuple[np.ndarray, np.ndarray]
"""Per fine position: the coarse index ``int32`` and a ``float32`` that says where within. Shared from frame to frame: read-only."""
Array = TypeVar("Array", np.ndarray, torch.Tensor)


def coarse_position(fine: Array, low: int, high: int) -> Array:
    """Where the centres of these of ``high`` fine pixels lie on a grid of ``low``; in the precision of ``fine``, any real type."""
    return (fine + 0.5) * (low / high) - 0.5


def cell_index(fine: Array, low: int, high: int) -> Array:
    """The coarse pixel that each fine pixel (of an integer type) has its centre in."""
    return (2 * fine + 1) * low // (2 * high)


def doubled_offset(fine: Array, low: int, high: int) -> Array:
    """How far into its coarse pixel each fine pixel's centre is, in whole numbers from 0 to ``2 · high``: float32 cannot tell the
    places within a coarse pixel of a large frame apart. ``/ high − 1`` makes it ±1 at the coarse pixel's sides."""
    return (2 * fine + 1) * low % (2 * high)


@functools.lru_cache(maxsize=64)
def bilinear_table(low: int, high: int) -> Table:
    """For each of ``high`` fine positions the coarse one at or before it, and the weight of the next."""
    position = coarse_position(np.arange(high, dtype=np.float32), low, high).clip(0, low - 1)
    first = np.floor(position)
    return _read_only(first.astype(np.int32)), _read_only((position - first).astype(np.float32))


@functools.lru_cache(maxsize=64)
def cell_table(low: int, high: int) -> Table:
    """For each of ``high`` fine positions the coarse pixel in which its centre lies, and where in it, ±1 at its sides."""
    fine = np.arange(high, dtype=np.int64)
    offset = doubled_offset(fine, low, high).astype(np.float32)
    return _read_only(cell_index(fine, low, high).astype(np.int32)), _read_only(offset / np.float32(high) - np.float32(1))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def bilinear(planes: torch.Tensor, size: tuple[int, int], antialias: bool = False) -> torch.Tensor:
    """``[C, h, w]`` → ``[C, H, W]``. antialias: average where ``size`` is the smaller one."""
    return F.interpolate(planes[None], size=size, mode="bilinear", align_corners=False, antialias=antialias)[0]


def upsample(depth: torch.Tensor, size: tuple[int, int], mode: Mode = "planar") -> torch.Tensor:
    """depth ``float32 [h, w]`` > 0 → ``float32 [H, W]``.

    ``nearest`` is the paper's; ``bilinear`` interpolates depth; ``planar`` interpolates 1/depth, which is exact on every plane,
    because inverse depth is affine in image coordinates there.
    """
    if mode == "nearest":
        return F.interpolate(depth[None, None], size=size, mode="nearest-exact")[0, 0]
    if mode == "bilinear":
        return bilinear(depth[None], size)[0]
    return bilinear(depth.reciprocal()[None], size)[0].reciprocal_()


def nearest(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``[h, w]`` of any type → ``[H, W]``: at each fine pixel the value of the coarse pixel in which its centre lies, as
    ``cell_index`` tells it, in whole numbers."""
    rows, columns = (cell_index(torch.arange(n, device=values.device), low, n) for n, low in zip(size, values.shape, strict=True))
    return values.index_select(0, rows).index_select(1, columns)


def upsample_mask(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``bool [h, w]`` → ``bool [H, W]``: what the coarse pixel says that each fine pixel's centre lies in."""
    return upsample(mask.float(), size, "nearest") > 0.5


def sample_at(maps: torch.Tensor, pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear values of coarse maps ``[h, w, C]`` at flat pixel indices ``int64 [K]`` of a ``size = (H, W)`` frame → ``[K, C]``.

    The same values that ``upsample(mode="bilinear")`` would give there, without making the full-size maps.
    """
    h, w = maps.shape[:2]
    y, x = row_and_column(pixels, size[1])
    row, row_weight = _neighbors(h, size[0], maps.device)
    column, column_weight = _neighbors(w, size[1], maps.device)
    top, bottom = row[0][y] * w, row[1][y] * w
    left, right = column[0][x], column[1][x]
    wy, wx = row_weight[y, None], column_weight[x, None]
    flat = maps.reshape(h * w, -1)
    upper = torch.lerp(flat[top + left], flat[top + right], wx)
    return torch.lerp(upper, torch.lerp(flat[bottom + left], flat[bottom + right], wx), wy)


def sample_grids(maps: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Bilinear values of maps ``[C, h, w]`` at positions in them: rows y ``[T, n]``, columns x ``[T, m]``, 0 the center of the
    first pixel → ``[T, C, n, m]``. Beyond the map its border goes on."""
    y, x = (((at * 2 + 1) / low - 1).to(maps.dtype) for at, low in ((y, maps.shape[1]), (x, maps.shape[2])))
    grid = torch.stack((x[:, None, :].expand(-1, y.shape[1], -1), y[:, :, None].expand(-1, -1, x.shape[1])), 3)
    batch = maps[None].expand(len(grid), -1, -1, -1)
    return F.grid_sample(batch, grid, mode="bilinear", padding_mode="border", align_corners=False)


def row_and_column(pixels: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of flat indices ``int64 [K]`` into a frame of that width."""
    y = torch.div(pixels, width, rounding_mode="floor")
    return y, pixels - y * width


def _neighbors(low: int, high: int, device: torch.device) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """``bilinear_table`` on a device, without a copy to it: the two coarse neighbours, and the weight of the second."""
    position = coarse_position(torch.arange(high, device=device), low, high).clamp_(0, low - 1)
    first = position.floor().long()
    return (first, (first + 1).clamp_max(low - 1)), (position - first).float()
