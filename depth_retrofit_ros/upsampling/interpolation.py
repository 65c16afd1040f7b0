"""From the coarse grid to the frame's grid. Both cover the same field of view, so pixel *areas* align (half-pixel exact)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

Mode = Literal["planar", "nearest", "bilinear"]


def upsample(depth: torch.Tensor, size: tuple[int, int], mode: Mode = "planar") -> torch.Tensor:
    """depth ``float32 [h, w]`` > 0 → ``float32 [H, W]``.

    ``nearest`` is the paper's; ``bilinear`` interpolates depth; ``planar`` interpolates 1/depth, which is exact on every plane,
    because inverse depth is affine in image coordinates there. All keep the grids aligned: the value at fine pixel x belongs to
    coarse position (x + 0.5)·w/W − 0.5.
    """
    if mode == "nearest":
        return F.interpolate(depth[None, None], size=size, mode="nearest-exact")[0, 0]
    if mode == "bilinear":
        return F.interpolate(depth[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    return F.interpolate(depth.reciprocal()[None, None], size=size, mode="bilinear", align_corners=False)[0, 0].reciprocal_()


def sample_at(maps: torch.Tensor, pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear values of coarse maps ``[h, w, C]`` at flat pixel indices ``int64 [K]`` of a ``size = (H, W)`` frame → ``[K, C]``.

    The same values that ``upsample(mode="bilinear")`` would give there, without making the full-size maps.
    """
    h, w = maps.shape[:2]
    y = torch.div(pixels, size[1], rounding_mode="floor")
    x = pixels - y * size[1]
    row, row_weight = _interpolation(h, size[0], maps.device)
    column, column_weight = _interpolation(w, size[1], maps.device)
    top, bottom = row[0][y] * w, row[1][y] * w
    left, right = column[0][x], column[1][x]
    wy, wx = row_weight[y, None], column_weight[x, None]
    flat = maps.reshape(h * w, -1)
    upper = torch.lerp(flat[top + left], flat[top + right], wx)
    return torch.lerp(upper, torch.lerp(flat[bottom + left], flat[bottom + right], wx), wy)


def _interpolation(low: int, high: int, device: torch.device) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """For each of ``high`` fine positions: the two coarse neighbours and the weight of the second."""
    position = ((torch.arange(high, device=device) + 0.5) * (low / high) - 0.5).clamp_(0, low - 1)
    first = position.floor().long()
    return (first, (first + 1).clamp_max(low - 1)), (position - first).float()
