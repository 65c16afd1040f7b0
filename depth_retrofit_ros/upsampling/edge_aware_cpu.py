"""``edge_aware.upsample_by_torch`` in one compiled pass, for the CPU: the sampled maps exist row by row only."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch

from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import THREAD_POOL, fetch_add
from depth_retrofit_ros.upsampling.interpolation import Table, bilinear_table

POOL = BufferPool()
Layout = tuple[int, int, int, int, int, int]
"""The channels of inverse depth, weight, lowest, highest, red (green and blue follow) and offset in ``edge_aware.guided_maps``."""


def upsample(maps: torch.Tensor, image: torch.Tensor, layout: Layout) -> torch.Tensor:
    """maps ``float32 [h, w, CHANNELS]``, image ``uint8 [H, W, 3]`` → ``float32 [H, W]``."""
    (low_h, low_w), (height, width) = maps.shape[:2], image.shape[:2]
    rows, columns = bilinear_table(low_h, height), bilinear_table(low_w, width)
    starts = np.searchsorted(columns[0], np.arange(low_w + 1))
    POOL.sweep()
    out = POOL.empty((height, width))
    compiled = _kernel(*layout)
    arguments = maps.numpy(), image.numpy(), rows, columns, starts, out.numpy(), np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: compiled(*arguments))
    return out


@functools.cache
def _kernel(inverse: int, weight: int, lowest: int, highest: int, red: int, offset: int) -> Callable[..., None]:
    """Compiled for one layout: of a closure, the cache of compiled kernels knows the values, of another module's numbers it does
    not."""

    @cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
    def guided_rows(
        maps: np.ndarray, image: np.ndarray, rows: Table, columns: Table, starts: np.ndarray, out: np.ndarray, next_row: np.ndarray
    ) -> None:
        """A row at a time, taken from ``next_row`` (``fetch_add``), so that several threads can call it with the same arguments.

        rows, columns: see ``bilinear_table``; starts: the first fine column of each coarse one.
        """
        low_h, low_w = maps.shape[:2]
        tops, downs = rows
        lefts, weights = columns
        blended = np.empty(low_w + 1, np.float32)
        while True:
            y = fetch_add(next_row, 1)
            if y >= out.shape[0]:
                return
            upper, down = tops[y], downs[y]
            lower = min(upper + 1, low_h - 1)
            for j in range(low_w):
                blended[j] = maps[upper, j, inverse] + (maps[lower, j, inverse] - maps[upper, j, inverse]) * down
            blended[low_w] = blended[low_w - 1]
            line = out[y]
            for x in range(line.size):
                start = blended[lefts[x]]
                line[x] = 1 / (start + (blended[lefts[x] + 1] - start) * weights[x])
            for j in range(low_w):
                right = min(j + 1, low_w - 1)
                steps = maps[upper, j, weight] + maps[lower, j, weight] + maps[upper, right, weight] + maps[lower, right, weight]
                if steps > 0:
                    a = maps[upper, j] + (maps[lower, j] - maps[upper, j]) * down
                    slope = maps[upper, right] + (maps[lower, right] - maps[upper, right]) * down - a
                    for x in range(starts[j], starts[j + 1]):
                        share = weights[x]
                        share_of_fit = a[weight] + slope[weight] * share
                        if share_of_fit <= 0:
                            continue
                        fitted = a[offset] + slope[offset] * share
                        for c in range(3):
                            fitted += (a[red + c] + slope[red + c] * share) * (image[y, x, c] * np.float32(1 / 255))
                        fitted = min(max(fitted, a[lowest] + slope[lowest] * share), a[highest] + slope[highest] * share)
                        line[x] *= np.exp(share_of_fit * (fitted - np.log(line[x])))

    return guided_rows
