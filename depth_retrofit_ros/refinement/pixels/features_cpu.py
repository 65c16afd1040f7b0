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
def assembly_kernel(
    surfaces: int, starts: tuple[int, int, int, int, int], mixture: tuple[int, float, float], farthest: float
) -> Callable[..., None]:
    """For ``surfaces`` candidates that a cell shows, followed by its mixtures (``mixtures.MIXTURE_LAYOUT``), which are at most
    ``farthest`` in ln depth from the coarse depth; starts: the columns at which the parts of ``PixelFeatures.rows`` begin, colours
    at 0.

    Constants to the compiler; and as part of a closure, constants that the cache of compiled kernels knows.
    """
    candidates, distances, entropy, level, grid = starts
    count, at_score, at_depth, sampled_count = surfaces, surfaces, surfaces + 1, surfaces + 2  # of a coarse pixel's values
    windows = mixture[0]
    least_share, least_contrast, far_off, third = (np.float32(v) for v in (*mixture[1:], farthest, 1 / 3))
    zero, one = np.float32(0), np.float32(1)

    @cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz", "reassoc"})
    def assemble(
        rgb: np.ndarray,
        values: np.ndarray,
        colors: np.ndarray,
        mixtures: np.ndarray,
        log_depth: np.ndarray,
        log_median: float,
        cell_size: float,
        indices: np.ndarray,
        grids: tuple[Table, Table],
        cells: tuple[Table, Table],
        out: np.ndarray,
        next_block: np.ndarray,
    ) -> None:
        """rgb ``float32 [K, 3]``; values ``[h, w, surfaces + 2]``; colors ``[h, w, 3, surfaces]``; mixtures ``[h, w, CHANNELS]``;
        log_depth ``[K]`` of the upsampled depth; cell_size: the last of ``grid``; indices ``int64 [K]``; grids, cells: of rows and
        columns, see ``bilinear_table`` and ``cell_table`` → out ``float32 [K, IN_CHANNELS]``, in the order of ``PixelFeatures``.

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
                    line[distances + k] = off * third
                cell = mixtures[cell_rows[y], cell_columns[x]]
                for k in range(windows):
                    part = cell[8 * k : 8 * k + 8]
                    own_r, own_g, own_b = red - part[1], green - part[2], blue - part[3]
                    across = own_r * part[5] + own_g * part[6] + own_b * part[7]
                    share = across / max(own_r * own_r + own_g * own_g + own_b * own_b, least_contrast)
                    share = min(max(share, least_share), one)
                    line[candidates + count + k] = zero - np.log(part[0] + part[4] / share)
                    off = abs(part[5] - share * own_r) + abs(part[6] - share * own_g) + abs(part[7] - share * own_b)
                    line[distances + count + k] = off * third
                rest, k = cell[8 * windows :], count + windows
                line[candidates + k], line[candidates + k + 1], line[candidates + k + 2] = rest[0], rest[8], rest[4]
                off = (abs(rest[1] - red) + abs(rest[2] - green) + abs(rest[3] - blue)) * third
                line[distances + k] = line[distances + k + 1] = off
                line[distances + k + 2] = (abs(rest[5] - red) + abs(rest[6] - green) + abs(rest[7] - blue)) * third
                for k in range(count, count + windows + 3):
                    ratio = line[candidates + k] - log_depth[i]
                    line[candidates + k] = min(max(ratio, -far_off), far_off)
                line[entropy] = min(max(sampled[at_score], np.float32(-3)), np.float32(6))
                line[level] = log_depth[i] - log_median
                line[grid], line[grid + 1], line[grid + 2] = ys[y], xs[x], cell_size

    return assemble
