"""How much the frame shows within each coarse cell: where it shows nothing, there is no edge to find."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import THREAD_POOL, fetch_add
from depth_retrofit_ros.upsampling.interpolation import bilinear, cell_index

LEAST_PX = 4  # side of the smallest cell within which a deviation says something


def contrast(image: torch.Tensor, low: tuple[int, int]) -> torch.Tensor:
    """The deviation of the frame's pixels within each cell of a ``low = (h, w)`` grid, ``float32 [h, w]``, 0…0.5.

    image: ``uint8 [H, W, 3]``. Where cells have fewer than ``LEAST_PX`` pixels a side, that of larger cells, interpolated.
    """
    grid = contrast_grid((image.shape[0], image.shape[1]), low)
    cells = cell_deviation(image, grid)
    return cells if grid == low else bilinear(cells[None], low)[0]


def contrast_grid(size: tuple[int, int], low: tuple[int, int]) -> tuple[int, int]:
    """The grid on which ``contrast`` is measured in a frame of ``size = (H, W)`` for a coarse map of ``low = (h, w)``."""
    rows, columns = (max(1, min(n, high // LEAST_PX)) for n, high in zip(low, size, strict=True))
    return rows, columns


def cell_deviation(image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Standard deviation of the pixels whose centres lie in each cell of ``grid = (h, w)``, mean of the channels, as a share of
    full scale: ``uint8 [H, W, 3]`` → ``float32 [h, w]``."""
    if image.device.type != "cpu":
        return cell_deviation_by_torch(image, grid)
    return deviation_between(image, *(cell_starts(high, low) for high, low in zip(image.shape[:2], grid, strict=True)))


def deviation_between(image: torch.Tensor, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """``cell_deviation`` of cells that begin at these rows and columns of an image on the CPU; the last of each is the end."""
    out = torch.empty(rows.size - 1, columns.size - 1)
    arguments = image.numpy(), rows, columns, out.numpy(), np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: _deviation(*arguments))
    return out


def cell_deviation_by_torch(image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """``cell_deviation`` in plain torch: the specification of the compiled pass, and what runs on CUDA."""
    planes = image.permute(2, 0, 1).float().sub_(127.5).div_(255)
    rows, columns = (_membership(high, low, image.device) for high, low in zip(image.shape[:2], grid, strict=True))
    mean, square = (rows @ values @ columns.T for values in (planes, planes * planes))
    return (square - mean * mean).clamp_min_(0).sqrt_().mean(0)


def _membership(high: int, low: int, device: torch.device) -> torch.Tensor:
    """``float32 [low, high]``: which fine pixels each cell averages; rows sum to 1."""
    cell = cell_index(torch.arange(high, device=device), low, high)
    share = (cell[None] == torch.arange(low, device=device)[:, None]).float()
    return share / share.sum(1, keepdim=True)


def cell_starts(high: int, low: int) -> np.ndarray:
    """The first fine pixel of each cell, and the end, ``int64 [low + 1]``."""
    return np.searchsorted(cell_index(np.arange(high, dtype=np.int64), low, high), np.arange(low + 1))


@cached_njit(nogil=True)
def _deviation(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray, next_row: np.ndarray) -> None:
    """A row of cells at a time, taken from ``next_row`` (``fetch_add``), so that several threads can call it alike."""
    sums = np.empty((columns.size - 1, 6), np.int64)
    while True:
        i = fetch_add(next_row, 1)
        if i >= out.shape[0]:
            return
        sums[:] = 0
        for y in range(rows[i], rows[i + 1]):
            line = image[y]
            for j in range(columns.size - 1):
                r = g = b = rr = gg = bb = np.int32(0)
                for x in range(columns[j], columns[j + 1]):
                    red, green, blue = np.int32(line[x, 0]), np.int32(line[x, 1]), np.int32(line[x, 2])
                    r += red
                    g += green
                    b += blue
                    rr += red * red
                    gg += green * green
                    bb += blue * blue
                cell = sums[j]
                cell[0] += r
                cell[1] += g
                cell[2] += b
                cell[3] += rr
                cell[4] += gg
                cell[5] += bb
        for j in range(columns.size - 1):
            count = (rows[i + 1] - rows[i]) * (columns[j + 1] - columns[j])
            total = 0.0
            for c in range(3):
                mean = sums[j, c] / count
                total += np.sqrt(max(sums[j, 3 + c] / count - mean * mean, 0.0))
            out[i, j] = total / (3 * 255)
