"""Rotary positions in two dimensions (arXiv 2403.13298): half of a head's channels turn with the row, half with the column."""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 100.0  # of the geometric series of angular frequencies, which begins at 1


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """``Rope`` of ``networks.dinov2``: x ``[B, heads, N, d]``, d a multiple of 4; positions ``int64 [B or 1, N, 2]``.

    Positions are row and column; where both are 0, x stays as it is. Angles are computed in float32, whatever x is.
    """
    half = x.shape[3] // 2
    steps = torch.arange(0, half, 2, device=x.device, dtype=torch.float32) / half
    angles = positions[:, None, :, :, None] * BASE**-steps  # [B, 1, N, 2, half / 2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.unflatten(3, (2, 2, half // 2)).unbind(4)  # [B, heads, N, 2, half / 2] each
    return torch.stack((first * cos - second * sin, second * cos + first * sin), 4).flatten(3)


def grid_positions(rows: int, columns: int, extra: int, device: torch.device) -> Tensor:
    """``int64 [1, extra + rows · columns, 2]``: 0 for the ``extra`` tokens before the grid, whose own positions begin at 1."""
    row = torch.arange(1, rows + 1, device=device)[:, None].expand(-1, columns)
    column = torch.arange(1, columns + 1, device=device).expand(rows, -1)
    grid = torch.stack((row, column), 2).view(1, -1, 2)
    return torch.cat((grid.new_zeros(1, extra, 2), grid), 1)
