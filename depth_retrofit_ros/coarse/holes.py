"""Cells without a depth of their own, filled from their neighbours, so that a hole makes no edge; without waiting for a device."""

from __future__ import annotations

import torch


def filled(values: torch.Tensor, unknown: torch.Tensor) -> torch.Tensor:
    """values ``[h, w]`` with those of ``unknown`` cells, ``bool [h, w]``, from the nearest known one by rows plus columns.

    Where nothing is known the values are of no meaning, but as finite as they were.
    """
    rows, columns = values.shape
    y, x = torch.arange(rows, device=values.device)[:, None], torch.arange(columns, device=values.device).expand(rows, -1)
    beyond = rows + columns  # more than any distance
    # The nearest known cell of each row, then of all rows: distances by rows and columns add up.
    left = torch.where(unknown, -beyond, x).cummax(1).values
    right = torch.where(unknown, 2 * beyond, x).flip(1).cummin(1).values.flip(1)
    column = torch.where(x - left <= right - x, left, right)
    distance = (column - x).abs()
    above, below = (distance - y).cummin(0), (distance + y).flip(0).cummin(0)
    is_above = above.values + y <= below.values.flip(0) - y
    row = torch.where(is_above, above.indices, rows - 1 - below.indices.flip(0))
    return values[row, column.gather(0, row).clamp(0, columns - 1)]
