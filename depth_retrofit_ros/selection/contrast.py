"""How much the frame shows within each coarse cell: where it shows nothing, there is no edge to find."""

from __future__ import annotations

import functools

import numpy as np
import torch

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.device.thread_pool import THREAD_POOL, fetch_add
from depth_retrofit_ros.upsampling.interpolation import bilinear, cell_index

LEAST_PX = 3  # side of the smallest cell within which a deviation says something


def contrast(image: torch.Tensor, low: tuple[int, int]) -> torch.Tensor:
    """The deviation of the frame's pixels within each cell of a ``low = (h, w)`` grid, ``float32 [h, w]``, 0…0.5.

    image: ``uint8 [H, W, 3]``. Where cells have fewer than ``LEAST_PX`` pixels a side, that of larger cells, interpolated.
    """
    grid = contrast_grid((image.shape[0], image.shape[1]), low)
    return at_cells(cell_deviation(image, grid), low)


def at_cells(measured: torch.Tensor, low: tuple[int, int]) -> torch.Tensor:
    """What was measured on a ``contrast_grid`` at the cells of the ``low = (h, w)`` grid that it was chosen for."""
    return measured if tuple(measured.shape) == low else bilinear(measured[None], low)[0]


def contrast_grid(size: tuple[int, int], low: tuple[int, int]) -> tuple[int, int]:
    """The grid on which ``contrast`` is measured in a frame of ``size = (H, W)`` for a coarse map of ``low = (h, w)``."""
    rows, columns = (max(1, min(n, high // LEAST_PX)) for n, high in zip(low, size, strict=True))
    return rows, columns


def cell_deviation(image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Standard deviation of the pixels whose centres lie in each cell of ``grid = (h, w)``, mean of the channels, as a share of
    full scale: ``uint8 [H, W, 3]`` → ``float32 [h, w]``."""
    if has_kernels(image.device):
        from depth_retrofit_ros.selection import score_triton

        return score_triton.cell_deviation(image, grid)
    if image.device.type != "cpu":
        return cell_deviation_by_torch(image, grid)
    return deviation_between(image, *(cell_starts(high, low) for high, low in zip(image.shape[:2], grid, strict=True)))


def deviation_between(image: torch.Tensor, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """``cell_deviation`` of cells that begin at these rows and columns of an image on the CPU; the last of each is the end."""
    out = torch.empty(rows.size - 1, columns.size - 1)
    arguments = image.numpy().reshape(image.shape[0], -1), rows, columns, out.numpy(), np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: _deviation(*arguments))
    return out


def cell_deviation_by_torch(image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """``cell_deviation`` in plain torch: the specification of the compiled pass, and what runs on CUDA without Triton. Its products
    are to be of full float32, which is torch's default: TF32 would make a plain wall deviate by three grey levels."""
    height, width = image.shape[:2]
    rows, columns = (_membership(high, low, image.device) for high, low in zip((height, width), grid, strict=True))
    count = (rows.sum(1)[:, None] * columns.sum(1))[..., None]
    lines = image.reshape(height, 3 * width).float().sub_(128)  # whole numbers about 0: sums of a cell of 30 x 30 are exact
    mean = columns @ (rows @ lines).view(-1, width, 3) / count
    square = columns @ (rows @ lines.square_()).view(-1, width, 3) / count
    return (square - mean * mean).clamp_min_(0).sqrt_().mean(-1).div_(255)


@functools.lru_cache(maxsize=64)
def _membership(high: int, low: int, device: torch.device) -> torch.Tensor:
    """``float32 [low, high]``: 1 for the fine pixels of each cell, otherwise 0. Shared from frame to frame, so it is copied to
    the device at once, ready for every stream."""
    cell = cell_index(torch.arange(high), low, high)
    return (cell[None] == torch.arange(low)[:, None]).float().to(device)


@functools.lru_cache(maxsize=64)
def cell_starts(high: int, low: int) -> np.ndarray:
    """The first fine pixel of each cell, and the end, ``int64 [low + 1]``. Shared from frame to frame: read-only."""
    starts = np.searchsorted(cell_index(np.arange(high, dtype=np.int64), low, high), np.arange(low + 1))
    starts.flags.writeable = False
    return starts


@cached_njit(nogil=True)
def _deviation(lines: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray, next_row: np.ndarray) -> None:
    """lines ``uint8 [H, 3 · W]``. A row of cells at a time, taken from ``next_row`` (``fetch_add``), so that several threads can
    call it alike. Down the columns first, where every channel of every column is summed alike."""
    sums, squares = np.empty(lines.shape[1], np.int32), np.empty(lines.shape[1], np.int32)
    while True:
        i = fetch_add(next_row, 1)
        if i >= out.shape[0]:
            return
        sums[:] = 0
        squares[:] = 0
        for y in range(rows[i], rows[i + 1]):
            line = lines[y]
            for x in range(line.size):
                value = np.int32(line[x])
                sums[x] += value
                squares[x] += value * value
        for j in range(columns.size - 1):
            count = (rows[i + 1] - rows[i]) * (columns[j + 1] - columns[j])
            total = 0.0
            for c in range(3):
                first = second = 0
                for x in range(3 * columns[j] + c, 3 * columns[j + 1] + c, 3):
                    first += sums[x]
                    second += squares[x]
                mean = first / count
                total += np.sqrt(max(second / count - mean * mean, 0.0))
            out[i, j] = total / (3 * 255)
