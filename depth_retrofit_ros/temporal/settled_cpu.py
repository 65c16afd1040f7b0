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
    color: np.ndarray,
    born: np.ndarray,
    image: np.ndarray,
    base: np.ndarray,
    still: np.ndarray,
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
    """A row of cells at a time; see ``SettledPixels.check``. inhabited: ``uint8 [h, w]``, cells with a settled pixel; rows,
    columns: the first fine one of each cell, ``int64 [h + 1]`` and ``int64 [w + 1]``."""
    h, w = claim.shape
    share = np.float32(1) / life_s
    kept = np.empty(w, np.float32)
    while True:
        i = fetch_add(next_row, 1)
        if i >= h:
            return
        kept[:] = 0
        for y in range(rows[i], rows[i + 1]):  # along the memory, not cell by cell
            counts, levels, bases, births, shown, known = count[y], level[y], base[y], born[y], image[y], color[y]
            for j in range(w):
                if inhabited[i, j] == 0:
                    continue
                for x in range(columns[j], columns[j + 1]):
                    if counts[x] == 0:
                        continue
                    change = abs(np.int32(shown[x, 0]) - np.int32(known[x, 0]))
                    change += abs(np.int32(shown[x, 1]) - np.int32(known[x, 1]))
                    change += abs(np.int32(shown[x, 2]) - np.int32(known[x, 2]))
                    age = (now_s - births[x]) * share
                    same = abs(bases[x] - levels[x]) <= level_limit * levels[x]
                    if still[i, j] and change <= color_limit and same and age < 1:
                        kept[j] += 1 - age
                    else:
                        counts[x] = 0
        for j in range(w):
            inhabited[i, j] = kept[j] > 0
            claim[i, j] = 1 - kept[j] / max(1, (rows[i + 1] - rows[i]) * (columns[j + 1] - columns[j]))


@cached_njit(nogil=True)
def keep_cells(
    count: np.ndarray,
    ratio: np.ndarray,
    base: np.ndarray,
    fused: np.ndarray,
    index_image: np.ndarray,
    inhabited: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    next_row: np.ndarray,
) -> None:
    """Settled pixels that were not refined now get their correction."""
    h, w = inhabited.shape
    while True:
        i = fetch_add(next_row, 1)
        if i >= h:
            return
        for y in range(rows[i], rows[i + 1]):
            counts, ratios, bases, answers, chosen = count[y], ratio[y], base[y], fused[y], index_image[y]
            for j in range(w):
                if inhabited[i, j] == 0:
                    continue
                for x in range(columns[j], columns[j + 1]):
                    if counts[x] > 0 and chosen[x] < 0:
                        answers[x] = ratios[x] * bases[x]


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
                held = ratio[y, x]
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
