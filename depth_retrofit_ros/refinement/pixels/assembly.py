"""``features.features_at`` in one compiled pass, for the CPU: every pixel's features are written once, into one row."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.upsampling.grid import Grid

BLOCK = 2048  # pixels
COUNT = 22  # candidates.COUNT: in numbers, because the cache of a compiled kernel notices changes of its own file only
SAMPLED = COUNT + 2  # values per coarse pixel: the candidates, the score, ln depth


@cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz", "reassoc"})
def assemble(
    rgb: np.ndarray,
    values: np.ndarray,
    colors: np.ndarray,
    log_depth: np.ndarray,
    log_median: float,
    level: float,
    indices: np.ndarray,
    grids: tuple[Grid, Grid],
    cells: tuple[Grid, Grid],
    out: np.ndarray,
    next_block: np.ndarray,
) -> None:
    """rgb ``float32 [K, 3]``; values ``[h, w, SAMPLED]``; colors ``[h, w, 3, COUNT]``; log_depth ``[K]`` of the upsampled depth;
    level: of ``grid``; indices ``int64 [K]``; grids, cells: of rows and columns, see ``interpolation`` → out ``float32 [K, 3 +
    2·COUNT + 5]``, in the order of ``PixelFeatures``.

    Each thread takes its blocks of pixels from ``next_block`` (``fetch_add``), so several can call it with the same arguments.
    """
    low_h, low_w = values.shape[:2]
    (tops, downs), (lefts, acrosses) = grids
    (cell_rows, ys), (cell_columns, xs) = cells
    width = np.int32(lefts.size)
    sampled = np.empty(SAMPLED, np.float32)
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
            for k in range(SAMPLED):
                sampled[k] = a * v00[k] + b * v01[k] + c * v10[k] + d * v11[k]
            line = out[i]
            red, green, blue = rgb[i, 0], rgb[i, 1], rgb[i, 2]
            line[0], line[1], line[2] = red, green, blue
            shift = sampled[COUNT + 1] - log_depth[i]
            for k in range(COUNT):
                line[3 + k] = sampled[k] + shift
            line[3] = 0
            table = colors[cell_rows[y], cell_columns[x]]
            for k in range(COUNT):
                off = abs(table[0, k] - red) + abs(table[1, k] - green) + abs(table[2, k] - blue)
                line[3 + COUNT + k] = off * np.float32(1 / 3)
            rest = 3 + 2 * COUNT
            line[rest] = min(max(sampled[COUNT], np.float32(-3)), np.float32(6))
            line[rest + 1] = log_depth[i] - log_median
            line[rest + 2] = ys[y]
            line[rest + 3] = xs[x]
            line[rest + 4] = level
