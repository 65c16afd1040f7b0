"""Rotary positions in two dimensions (arXiv 2403.13298): half of a head's channels turn by the row, half by the column."""

from __future__ import annotations

import torch
from torch import Tensor


class Rotary2d:
    """``Rope`` of ``coarse.networks.dinov2``. base: of the geometric series of angular frequencies, which begins at 1."""

    def __init__(self, base: float = 100.0) -> None:
        self.base = base

    def __call__(self, x: Tensor, positions: Tensor) -> Tensor:
        """x ``[B, heads, N, d]``, d a multiple of 4; positions ``int64 [B or 1, N, 2]``: row and column, 0 leaves x as it is."""
        half = x.shape[-1] // 2
        exponents = torch.arange(0, half, 2, device=x.device, dtype=torch.float32) / half
        angles = positions[..., None] * self.base**-exponents  # [B, N, 2, d/4]
        angles = torch.cat((angles, angles), -1).to(x.dtype)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        parts = x.unflatten(-1, (2, half))
        first, second = parts.chunk(2, -1)
        return (parts * cos + torch.cat((-second, first), -1) * sin).flatten(-2)


def grid_positions(rows: int, columns: int, extra: int, device: torch.device) -> Tensor:
    """``int64 [1, extra + rows · columns, 2]``: 0 for the ``extra`` tokens before the grid, whose own positions begin at 1."""
    row = torch.arange(1, rows + 1, device=device).repeat_interleave(columns)
    column = torch.arange(1, columns + 1, device=device).repeat(rows)
    grid = torch.stack((row, column), -1)
    return torch.cat((grid.new_zeros(extra, 2), grid))[None]
