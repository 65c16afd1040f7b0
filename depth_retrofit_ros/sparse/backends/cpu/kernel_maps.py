"""Kernel maps by compiled code, one pass over the active pixels for each; ``kernel_map`` says what they hold."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add

PIECE = 1 << 14  # pixels that a thread takes at once


@cached_njit(nogil=True)
def fill_coarsening(
    indices: np.ndarray,
    size: tuple[int, int],
    coarse_indices: np.ndarray,
    coarse_image: np.ndarray,
    children: np.ndarray,
    slots: np.ndarray,
) -> int:
    """``kernel_map.coarsen``: returns K', the number of 2x2 cells with an active pixel, in row-major order.

    indices: ``int64 [K]`` into an image of ``size = (H, W)``, increasing. Filled: coarse_indices ``int64`` and children ``int32
    [·, 4]``, the first K' rows of at least min(K, cells); coarse_image ``int32 [ceil(H / 2), ceil(W / 2)]``; slots ``int32 [K]``.
    """
    count, width = indices.shape[0], size[1]
    coarse_image[:] = -1
    found = upper = 0  # upper and lower walk along the two rows of the cells, like the two lists of a merge
    for row in range(coarse_image.shape[0]):
        start = 2 * row * width
        lower = upper
        while lower < count and indices[lower] < start + width:
            lower += 1
        upper_end = lower
        end = start + 2 * width if 2 * row + 1 < size[0] else start  # an odd last row is alone
        while upper < upper_end or (lower < count and indices[lower] < end):
            column = width
            if upper < upper_end:
                column = (indices[upper] - start) >> 1
            if lower < count and indices[lower] < end:
                column = min(column, (indices[lower] - start - width) >> 1)
            coarse_indices[found] = row * coarse_image.shape[1] + column
            coarse_image[row, column] = found
            for slot in range(4):
                children[found, slot] = count
                x = 2 * column + (slot & 1)
                if slot < 2 and upper < upper_end and indices[upper] == start + x:
                    children[found, slot] = upper
                    slots[upper] = 4 * found + slot
                    upper += 1
                elif slot >= 2 and lower < count and x < width and indices[lower] == start + width + x:
                    children[found, slot] = lower
                    slots[lower] = 4 * found + slot
                    lower += 1
            found += 1
        upper = lower
    return found


@cached_njit(nogil=True)
def fill_neighbors(indices: np.ndarray, index_image: np.ndarray, neighbors: np.ndarray, counter: np.ndarray) -> None:
    """``kernel_map.neighbor_map``, packed: fills neighbours ``int32 [K, 3]``; the threads share counter ``int64 [1]``, 0 at first.

    indices: ``int64 [K]``, increasing; index_image: ``int32 [H, W]``. Active pixels that lie side by side have successive rows. So
    for each pixel it is enough to know the row of the first active neighbour in the line above, that of the first one in the line
    below (any number if there is none), and nine bits, lowest first: which of the 3x3 neighbours in row-major order are active.
    """
    count = indices.shape[0]
    height, width = index_image.shape
    while True:
        begin = fetch_add(counter, PIECE)
        if begin >= count:
            return
        y, start = 0, -width  # start: of row y, once the first pixel has moved them
        for i in range(begin, min(begin + PIECE, count)):
            if indices[i] >= start + width:
                y = indices[i] // width
                start = y * width
            x = indices[i] - start
            inner = 0 < x < width - 1 and 0 < y < height - 1
            bits = np.int32(0)
            for dy in range(3):
                first = np.int32(-1)
                for dx in range(2, -1, -1):
                    inside = inner or (0 <= y + dy - 1 < height and 0 <= x + dx - 1 < width)
                    row = index_image[y + dy - 1, x + dx - 1] if inside else np.int32(-1)
                    if row >= 0:
                        first = row
                        bits |= np.int32(1 << (3 * dy + dx))
                if dy != 1:
                    neighbors[i, dy // 2] = first
            neighbors[i, 2] = bits
