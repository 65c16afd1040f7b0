"""``features.features_by_torch`` in one compiled pass, for the CPU: every pixel's features are written once, into one row."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.upsampling.interpolation import Table

BLOCK = 2048  # pixels


@functools.cache
def assembly_kernel(count: int, candidates: int, distances: int, entropy: int, level: int, grid: int) -> Callable[..., None]:
    """For ``count`` candidates; the others are the columns at which the parts of ``PixelFeatures.rows`` begin, colours at 0.

    Constants to the compiler; and as part of a closure, constants that the cache of compiled kernels knows.
    """
    at_score, at_depth, sampled_count = count, count + 1, count + 2  # of a coarse pixel's values

    @cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz", "reassoc"})
    def assemble(
        rgb: np.ndarray,
        values: np.ndarray,
        colors: np.ndarray,
        log_depth: np.ndarray,
        log_median: float,
        cell_size: float,
        indices: np.ndarray,
        grids: tuple[Table, Table],
        cells: tuple[Table, Table],
        out: np.ndarray,
        next_block: np.ndarray,
    ) -> None:
        """rgb ``float32 [K, 3]``; values ``[h, w, count + 2]``; colors ``[h, w, 3, count]``; log_depth ``[K]`` of the upsampled
        depth; cell_size: the last of ``grid``; indices ``int64 [K]``; grids, cells: of rows and columns, see ``bilinear_table`` and
        ``cell_table`` → out ``float32 [K, IN_CHANNELS]``, in the order of ``PixelFeatures``.

        Each thread takes its blocks of pixels from ``next_block`` (``fetch_add``), so several can call it with the same arguments.
        """
        low_h, low_w = values.shape[:2]
        (tops, downs), (lefts, acrosses) = grids
        (cell_rows, ys), (cell_columns, xs) = cells
        width = np.int32(lefts.size)
        sampled = np.empty(sampled_count, np.float32)
        while True:
            start = fetch_add(next_block, BLOCK)
            if start >= indices.size:
                return
            for i in range(start, min(start + BLOCK, indices.size)):
                index = np.int32(indices[i])
                y = index // width
                x = index - y * width
                top, left, down, across = tops[y], lefts[x], downs[y], acrosses[x]
                bottom, right = min(top + 1, low_h - 1), min(left + 1, low_w - 1)
                a, b = (1 - down) * (1 - across), (1 - down) * across
                c, d = down * (1 - across), down * across
                v00, v01, v10, v11 = values[top, left], values[top, right], values[bottom, left], values[bottom, right]
                for k in range(sampled_count):
                    sampled[k] = a * v00[k] + b * v01[k] + c * v10[k] + d * v11[k]
                line = out[i]
                red, green, blue = rgb[i, 0], rgb[i, 1], rgb[i, 2]
                line[0], line[1], line[2] = red, green, blue
                shift = sampled[at_depth] - log_depth[i]
                for k in range(count):
                    line[candidates + k] = sampled[k] + shift
                line[candidates] = 0
                table = colors[cell_rows[y], cell_columns[x]]
                for k in range(count):
                    off = abs(table[0, k] - red) + abs(table[1, k] - green) + abs(table[2, k] - blue)
                    line[distances + k] = off * np.float32(1 / 3)
                line[entropy] = min(max(sampled[at_score], np.float32(-3)), np.float32(6))
                line[level] = log_depth[i] - log_median
                line[grid], line[grid + 1], line[grid + 2] = ys[y], xs[x], cell_size

    return assemble
