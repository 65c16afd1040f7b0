"""``features.features_at`` in one compiled pass, for the CPU: every pixel's features are written once, into one row."""

from __future__ import annotations

import numba
import numpy as np

from depth_retrofit_ros.team import claim

BLOCK = 2048  # pixels


@numba.njit(nogil=True, cache=True, fastmath={"contract", "arcp", "nsz"})
def assemble(
    rgb: np.ndarray,
    values: np.ndarray,
    colors: np.ndarray,
    log_depth: np.ndarray,
    log_median: float,
    cell_level: float,
    indices: np.ndarray,
    size: tuple[int, int],
    out: np.ndarray,
    next_block: np.ndarray,
) -> None:
    """rgb ``float32 [K, 3]``; values ``[h, w, COUNT + 2]``; colors ``[h, w, COUNT, 3]``; log_depth ``[K]`` of the upsampled depth;
    indices ``int64 [K]`` into a frame of size (H, W) → out ``float32 [K, 3 + 2·COUNT + 5]``, in the order of ``PixelFeatures``.

    Blocks of pixels are claimed from ``next_block`` (``team.claim``), so that several threads can call it with the same arguments.
    """
    low_h, low_w = values.shape[:2]
    height, width = size
    count = colors.shape[2]
    level = np.float32(np.log(height / low_h) - cell_level)
    while True:
        start = claim(next_block, BLOCK)
        if start >= indices.size:
            return
        for i in range(start, min(start + BLOCK, indices.size)):
            y, x = indices[i] // width, indices[i] % width
            row = min(max((y + 0.5) * low_h / height - 0.5, 0.0), low_h - 1.0)
            column = min(max((x + 0.5) * low_w / width - 0.5, 0.0), low_w - 1.0)
            top, left = int(row), int(column)
            bottom, right = min(top + 1, low_h - 1), min(left + 1, low_w - 1)
            down, across = np.float32(row - top), np.float32(column - left)
            a, b = (1 - down) * (1 - across), (1 - down) * across
            c, d = down * (1 - across), down * across
            v00, v01, v10, v11 = values[top, left], values[top, right], values[bottom, left], values[bottom, right]
            line = out[i]
            line[0], line[1], line[2] = rgb[i, 0], rgb[i, 1], rgb[i, 2]
            last = count + 1
            shift = a * v00[last] + b * v01[last] + c * v10[last] + d * v11[last] - log_depth[i]
            line[3] = 0
            for k in range(1, count):
                line[3 + k] = a * v00[k] + b * v01[k] + c * v10[k] + d * v11[k] + shift
            cell_row, cell_column = (2 * y + 1) * low_h // (2 * height), (2 * x + 1) * low_w // (2 * width)
            table = colors[cell_row, cell_column]
            for k in range(count):
                off = abs(table[k, 0] - line[0]) + abs(table[k, 1] - line[1]) + abs(table[k, 2] - line[2])
                line[3 + count + k] = off * np.float32(1 / 3)
            rest = 3 + 2 * count
            score = a * v00[count] + b * v01[count] + c * v10[count] + d * v11[count]
            line[rest] = min(max(score, np.float32(-3)), np.float32(6))
            line[rest + 1] = log_depth[i] - log_median
            line[rest + 2] = np.float32((2 * y + 1) * low_h % (2 * height)) / height - 1
            line[rest + 3] = np.float32((2 * x + 1) * low_w % (2 * width)) / width - 1
            line[rest + 4] = level
