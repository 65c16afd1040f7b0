"""The pass of ``settled`` over the frame, for the CPU. Several threads call it with the same arguments."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add


@cached_njit(nogil=True)
def is_same(
    shown: np.ndarray, known: np.ndarray, base: float, level: float, age: float, life: float, color_limit: int, level_limit: float
) -> bool:
    """Whether a pixel is what it was when it was refined. shown, known: ``uint8 [3]``, its colours."""
    change = abs(np.int32(shown[0]) - np.int32(known[0])) + abs(np.int32(shown[1]) - np.int32(known[1]))
    change += abs(np.int32(shown[2]) - np.int32(known[2]))
    return change <= color_limit and age < life and abs(base - level) <= level_limit * level


@cached_njit(nogil=True)
def settle_rows(
    count: np.ndarray,
    ratio: np.ndarray,
    level: np.ndarray,
    color: np.ndarray,
    born: np.ndarray,
    image: np.ndarray,
    base: np.ndarray,
    fused: np.ndarray,
    indices: np.ndarray,
    index_image: np.ndarray,
    gate: np.ndarray,
    begins: np.ndarray,
    still: np.ndarray,
    number: np.ndarray,
    left: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    now: int,
    life: float,
    color_limit: int,
    level_limit: float,
    most: int,
    next_row: np.ndarray,
) -> None:
    """A row of cells at a time; see ``SettledPixels.apply``. begins: ``int64 [H + 1]``, the first of ``indices`` of each fine row;
    number: ``int32 [h, w]``, settled pixels of each cell; left: ``float32 [h, w]``, sum of what is left of their lives; rows,
    columns: the first fine one of each cell, ``int64 [h + 1]`` and ``int64 [w + 1]``; life: in ticks."""
    h, w = number.shape
    width = count.shape[1]
    cell_of = np.empty(width, np.int32)
    for j in range(w):
        cell_of[columns[j] : columns[j + 1]] = j
    fresh = np.empty(w, np.int32)
    while True:
        i = fetch_add(next_row, 1)
        if i >= h:
            return
        fresh[:] = 0
        for y in range(rows[i], rows[i + 1]):  # what was refined now
            for k in range(begins[y], begins[y + 1]):
                x = indices[k] - y * width
                j = cell_of[x]
                unrefined = base[y, x]
                found = fused[y, x] / unrefined
                if gate[k] >= 1 or not (found > 0 and np.isfinite(found)):
                    count[y, x] = 0
                    continue
                many = np.int32(1)
                if count[y, x] > 0 and still[i, j]:
                    age = np.float32(np.uint16(now - born[y, x]))
                    held = ratio[y, x]
                    same = is_same(image[y, x], color[y, x], unrefined, level[y, x], age, life, color_limit, level_limit)
                    if same and abs(found - held) <= level_limit * held:
                        many = min(np.int32(count[y, x]) + np.int32(1), most)
                        found = held + (found - held) / np.float32(many)
                        fused[y, x] = unrefined * found
                count[y, x], ratio[y, x], level[y, x], born[y, x] = many, found, unrefined, now
                for c in range(3):
                    color[y, x, c] = image[y, x, c]
                fresh[j] += 1
        for j in range(w):
            left[i, j] = fresh[j]
        for y in range(rows[i], rows[i + 1]):  # and what was not, along the memory, not cell by cell
            counts, levels, births, shown, known = count[y], level[y], born[y], image[y], color[y]
            ratios, bases, answers, chosen = ratio[y], base[y], fused[y], index_image[y]
            for j in range(w):
                if number[i, j] == 0:
                    continue
                for x in range(columns[j], columns[j + 1]):
                    if counts[x] == 0 or chosen[x] >= 0:
                        continue
                    age = np.float32(np.uint16(now - births[x]))
                    same = is_same(shown[x], known[x], bases[x], levels[x], age, life, color_limit, level_limit)
                    if still[i, j] and same:
                        answers[x] = ratios[x] * bases[x]
                        fresh[j] += 1
                        left[i, j] += 1 - age / life
                    else:
                        counts[x] = 0
        for j in range(w):
            number[i, j] = fresh[j]
