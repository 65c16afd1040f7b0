"""The passes of ``settled`` over the frame, for the CPU. Several threads call them with the same arguments."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add

PIECE = 4096  # pixels that a thread takes at a time


@cached_njit(nogil=True)
def check_cells(
    count: np.ndarray,
    level: np.ndarray,
    ratio: np.ndarray,
    color: np.ndarray,
    born: np.ndarray,
    image: np.ndarray,
    base: np.ndarray,
    still: np.ndarray,
    nearest: np.ndarray,
    farthest: np.ndarray,
    inhabited: np.ndarray,
    claim: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    now_s: float,
    life_s: float,
    color_limit: int,
    level_limit: float,
    next_row: np.ndarray,
) -> None:
    """A row of cells at a time; see ``SettledPixels.check``. nearest, farthest: ``float32 [h, w]``, between which surfaces are;
    inhabited: ``uint8 [h, w]``, cells with a settled pixel; rows, columns: the first fine one of each cell, ``int64 [h + 1]`` and
    ``int64 [w + 1]``."""
    h, w = claim.shape
    share = np.float32(1) / life_s
    while True:
        i = fetch_add(next_row, 1)
        if i >= h:
            return
        for j in range(w):
            claim[i, j] = 1
            if inhabited[i, j] == 0:
                continue
            kept, alive = np.float32(0), False
            low, high = nearest[i, j] * (1 - level_limit), farthest[i, j] * (1 + level_limit)
            for y in range(rows[i], rows[i + 1]):
                for x in range(columns[j], columns[j + 1]):
                    if count[y, x] == 0:
                        continue
                    change = np.int32(0)
                    for c in range(3):
                        change += abs(np.int32(image[y, x, c]) - np.int32(color[y, x, c]))
                    old = level[y, x]
                    held = old * ratio[y, x]
                    same = abs(base[y, x] - old) <= level_limit * old or (held >= low and held <= high)
                    age = (now_s - born[y, x]) * share
                    if still[i, j] and change <= color_limit and same and age < 1:
                        kept += 1 - age
                        alive = True
                    else:
                        count[y, x] = 0
            inhabited[i, j] = alive
            claim[i, j] = 1 - kept / ((rows[i + 1] - rows[i]) * (columns[j + 1] - columns[j]))


@cached_njit(nogil=True)
def keep_cells(
    count: np.ndarray,
    ratio: np.ndarray,
    level: np.ndarray,
    base: np.ndarray,
    fused: np.ndarray,
    index_image: np.ndarray,
    inhabited: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    limit: float,
    next_row: np.ndarray,
) -> None:
    """Settled pixels that were not refined now: their correction where the unrefined depth is what it was, else their depth."""
    h, w = inhabited.shape
    while True:
        i = fetch_add(next_row, 1)
        if i >= h:
            return
        for j in range(w):
            if inhabited[i, j] == 0:
                continue
            for y in range(rows[i], rows[i + 1]):
                for x in range(columns[j], columns[j + 1]):
                    if count[y, x] > 0 and index_image[y, x] < 0:
                        old = level[y, x]
                        fused[y, x] = ratio[y, x] * (base[y, x] if abs(base[y, x] - old) <= limit * old else old)


@cached_njit(nogil=True)
def settle_pixels(
    count: np.ndarray,
    ratio: np.ndarray,
    level: np.ndarray,
    color: np.ndarray,
    born: np.ndarray,
    image: np.ndarray,
    base: np.ndarray,
    fused: np.ndarray,
    indices: np.ndarray,
    gate: np.ndarray,
    inhabited: np.ndarray,
    cell_rows: np.ndarray,
    cell_columns: np.ndarray,
    now_s: float,
    most: int,
    limit: float,
    next_pixel: np.ndarray,
) -> None:
    """Pixels that were refined now. cell_rows, cell_columns: the cell of each fine row and column."""
    width = count.shape[1]
    while True:
        begin = fetch_add(next_pixel, PIECE)
        if begin >= indices.size:
            return
        for k in range(begin, min(begin + PIECE, indices.size)):
            y, x = indices[k] // width, indices[k] % width
            now = base[y, x]
            found = fused[y, x] / now
            if gate[k] >= 1 or not (found > 0 and np.isfinite(found)):
                count[y, x] = 0
                continue
            number = np.int32(1)
            if count[y, x] > 0:
                held = ratio[y, x] * (level[y, x] / now)
                if abs(found - held) <= limit * held:
                    number = min(np.int32(count[y, x]) + 1, most)
                    found = held + (found - held) / np.float32(number)
                    fused[y, x] = now * found
            count[y, x] = number
            ratio[y, x] = found
            level[y, x] = now
            born[y, x] = now_s
            inhabited[cell_rows[y], cell_columns[x]] = 1
            for c in range(3):
                color[y, x, c] = image[y, x, c]
