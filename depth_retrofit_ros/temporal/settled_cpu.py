"""The pass of ``settled`` over the frame, for the CPU. Several threads call it with the same arguments."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add


@cached_njit(nogil=True)
def differences(shown: np.ndarray, known: np.ndarray, change: np.ndarray) -> None:
    """Sum over the channels of two rows of colours ``uint8 [W, 3]``, into change ``int16 [W]``."""
    for x in range(change.size):
        red = abs(np.int16(shown[x, 0]) - np.int16(known[x, 0]))
        green = abs(np.int16(shown[x, 1]) - np.int16(known[x, 1]))
        change[x] = red + green + abs(np.int16(shown[x, 2]) - np.int16(known[x, 2]))


@cached_njit(nogil=True)
def alive(
    counts: np.ndarray,
    here: np.ndarray,
    change: np.ndarray,
    bases: np.ndarray,
    levels: np.ndarray,
    births: np.ndarray,
    now: int,
    life: float,
    color_limit: int,
    level_limit: float,
    same: np.ndarray,
    lasts: np.ndarray,
) -> None:
    """Of a row, which pixels stay settled, same ``uint8 [W]``, and the share of their lives that is left,
    lasts ``float32 [W]``; the others' count becomes 0. All conditions of all pixels, so that it is compiled to vectors."""
    for x in range(counts.size):
        age = np.float32(np.uint16(now - births[x]))
        near = abs(bases[x] - levels[x]) <= level_limit * levels[x]
        yes = (here[x] != 0) & (counts[x] != 0) & (change[x] <= color_limit) & near & (age < life)
        same[x] = yes
        lasts[x] = np.float32(1) - age / life if yes else np.float32(0)
        counts[x] = counts[x] if yes else np.uint8(0)


@cached_njit(nogil=True)
def keep(
    same: np.ndarray,
    ratios: np.ndarray,
    bases: np.ndarray,
    answers: np.ndarray,
    lasts: np.ndarray,
    number: np.ndarray,
    left: np.ndarray,
) -> None:
    """Their corrections, of a row; number ``int32 [W]``, left ``float32 [W]``: sums of ``same`` and ``lasts`` along each column."""
    for x in range(same.size):
        answers[x] = ratios[x] * bases[x] if same[x] != 0 else answers[x]
    for x in range(same.size):
        number[x] += same[x]
    for x in range(same.size):
        left[x] += lasts[x]


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
    here, stays = np.empty(width, np.uint8), np.empty(width, np.uint8)
    change, kept, fresh = np.empty(width, np.int16), np.empty(width, np.int32), np.empty(w, np.int32)
    lasts, lasting = np.empty(width, np.float32), np.empty(width, np.float32)
    while True:
        i = fetch_add(next_row, 1)
        if i >= h:
            return
        fresh[:], kept[:], lasting[:] = 0, 0, 0
        waits = False
        for j in range(w):
            here[columns[j] : columns[j + 1]] = still[i, j] and number[i, j] > 0
            waits |= still[i, j] and number[i, j] > 0
        for y in range(rows[i], rows[i + 1]):
            if waits:
                differences(image[y], color[y], change)
                alive(count[y], here, change, base[y], level[y], born[y], now, life, color_limit, level_limit, stays, lasts)
            else:
                count[y] = 0
            for k in range(begins[y], begins[y + 1]):  # what was refined now
                x = indices[k] - y * width
                stays[x], lasts[x] = 0, 0
                found = fused[y, x] / base[y, x]
                if gate[k] >= 1 or not (found > 0 and np.isfinite(found)):
                    count[y, x] = 0
                    continue
                many, held = np.int32(1), ratio[y, x]
                if count[y, x] > 0 and abs(found - held) <= level_limit * held:
                    many = min(np.int32(count[y, x]) + np.int32(1), most)
                    found = held + (found - held) / np.float32(many)
                    fused[y, x] = base[y, x] * found
                count[y, x], ratio[y, x], level[y, x], born[y, x] = many, found, base[y, x], now
                color[y, x, 0], color[y, x, 1], color[y, x, 2] = image[y, x, 0], image[y, x, 1], image[y, x, 2]
                fresh[cell_of[x]] += 1
            if waits:
                keep(stays, ratio[y], base[y], fused[y], lasts, kept, lasting)
        for j in range(w):
            number[i, j] = left[i, j] = fresh[j]
            for x in range(columns[j], columns[j + 1]):
                number[i, j] += kept[x]
                left[i, j] += lasting[x]
