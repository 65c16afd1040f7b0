"""Where the pixels of a fine grid lie between those of a coarse one over the same field of view (half-pixel exact)."""

from __future__ import annotations

import numpy as np

Grid = tuple[np.ndarray, np.ndarray]


def interpolation(low: int, high: int) -> Grid:
    """For each of ``high`` fine positions the coarse one at or before it ``int32``, and the weight of the next ``float32``."""
    position = ((np.arange(high, dtype=np.float32) + np.float32(0.5)) * np.float32(low / high) - np.float32(0.5)).clip(0, low - 1)
    first = np.floor(position)
    return first.astype(np.int32), (position - first).astype(np.float32)


def cells(low: int, high: int) -> Grid:
    """For each of ``high`` fine positions the coarse pixel in which its centre lies ``int32``, and where in it, ±1 at its sides
    ``float32``. In whole numbers up to the last step: float32 cannot tell the places within a pixel of a large frame apart."""
    cell, inside = np.divmod((2 * np.arange(high, dtype=np.int64) + 1) * low, 2 * high)
    return cell.astype(np.int32), inside.astype(np.float32) / np.float32(high) - np.float32(1)
