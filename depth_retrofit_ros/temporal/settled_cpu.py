"""The pass of ``settled`` over the frame, for the CPU. Several threads call it with the same arguments."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add


@cached_njit(nogil=True, error_model="numpy")
def differences(shown: np.ndarray, known: np.ndarray, begin: int, end: int, change: np.ndarray) -> None:
    """Sum over the channels of two pieces of a row of colours ``uint8 [W, 3]``, into change ``int16 [W]``."""
    for x in range(begin, end):
        red = abs(np.int16(shown[x, 0]) - np.int16(known[x, 0]))
        green = abs(np.int16(shown[x, 1]) - np.int16(known[x, 1]))
        change[x] = red + green + abs(np.int16(shown[x, 2]) - np.int16(known[x, 2]))


@cached_njit(nogil=True, error_model="numpy")
def alive(
    counts: np.ndarray,
    here: np.ndarray,
    change: np.ndarray,
    levels: np.ndarray,
    births: np.ndarray,
    drift: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    begin: int,
    end: int,
    now: int,
    life: float,
    color_limit: int,
    same: np.ndarray,
    lasts: np.ndarray,
) -> None:
    """Of a piece of a row, which pixels stay settled, same ``uint8 [W]``, and how little claim each has to the budget, lasts
    ``float32 [W]``; the others' count becomes 0. drift, lowest, highest: of the cells, at each pixel. All conditions of all pixels,
    so that it is compiled to vectors."""
    for x in range(begin, end):
        age = np.float32(np.uint16(now - births[x]))
        level = levels[x] * drift[x]
        near = (level >= lowest[x]) & (level <= highest[x])
        yes = (here[x] != 0) & (counts[x] != 0) & (change[x] <= color_limit) & near & (age < life)
        same[x] = yes
        many = np.float32(counts[x])
        lasts[x] = (np.float32(1) - age / life) * many / (many + np.float32(1)) if yes else np.float32(0)
        counts[x] = counts[x] if yes else np.uint8(0)


@cached_njit(nogil=True, error_model="numpy")
def keep(
    same: np.ndarray,
    depths: np.ndarray,
    drift: np.ndarray,
    answers: np.ndarray,
    lasts: np.ndarray,
    begin: int,
    end: int,
    number: np.ndarray,
    left: np.ndarray,
) -> None:
    """Their depths, of a piece of a row; number ``int32 [W]``, left ``float32 [W]``: sums of ``same`` and ``lasts`` along each
    column."""
    for x in range(begin, end):
        answers[x] = depths[x] * drift[x] if same[x] != 0 else answers[x]
    for x in range(begin, end):
        number[x] += same[x]
    for x in range(begin, end):
        left[x] += lasts[x]


@cached_njit(nogil=True, error_model="numpy")
def settle_rows(
    count: np.ndarray,
    depth: np.ndarray,
    level: np.ndarray,
    color: np.ndarray,
    born: np.ndarray,
    entropy: np.ndarray,
    keeps: np.ndarray,
    image: np.ndarray,
    base: np.ndarray,
    fused: np.ndarray,
    indices: np.ndarray,
    gate: np.ndarray,
    choice: np.ndarray,
    begins: np.ndarray,
    still: np.ndarray,
    drift: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    number: np.ndarray,
    left: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    now: int,
    life: float,
    color_limit: int,
    same_limit: float,
    most: int,
    next_row: np.ndarray,
) -> None:
    """A row of cells at a time; see ``SettledPixels.apply``. choice: ``uint8 [2, K]``, entropy and gate; begins:
    ``int64 [H + 1]``, the first of ``indices`` of each fine row; drift, lowest, highest: ``float32 [h, w]``, the factor on the
    depth that is stored, and between which the unrefined depth then must lie; number: ``int32 [h, w]``, settled pixels of each
    cell; left: ``float32 [h, w]``, sum of how little claim they have; rows, columns: the first fine one of each cell,
    ``int64 [h + 1]`` and ``int64 [w + 1]``; life: in ticks."""
    h, w = number.shape
    width = count.shape[1]
    cell_of = np.empty(width, np.int32)
    for j in range(w):
        cell_of[columns[j] : columns[j + 1]] = j
    here, stays = np.empty(width, np.uint8), np.empty(width, np.uint8)
    change, kept, fresh = np.empty(width, np.int16), np.empty(width, np.int32), np.empty(w, np.int32)
    lasts, lasting, fresh_left = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(w, np.float32)
    starts, ends = np.empty(w, np.uint64), np.empty(w, np.uint64)  # an index that may be negative is not compiled to vectors
    factor, back = np.empty(width, np.float32), np.empty(width, np.float32)
    low, high = np.empty(width, np.float32), np.empty(width, np.float32)
    one_of = np.float32(1) / np.maximum(np.arange(most + 2), 1).astype(np.float32)  # so that no pixel waits for a division
    while True:
        i = fetch_add(next_row, 1)
        if i >= h:
            return
        fresh[:], fresh_left[:], kept[:], lasting[:] = 0, 0, 0, 0
        spans = 0  # runs of cells that hold something
        for j in range(w):
            begin, end = columns[j], columns[j + 1]
            here[begin:end], low[begin:end], high[begin:end] = still[i, j], lowest[i, j], highest[i, j]
            factor[begin:end], back[begin:end] = drift[i, j], np.float32(1) / drift[i, j]
            if number[i, j] > 0:
                if spans == 0 or ends[spans - 1] != np.uint64(begin):
                    starts[spans] = begin
                    spans += 1
                ends[spans - 1] = end
        for y in range(rows[i], rows[i + 1]):
            shown, known, counts, levels, births = image[y], color[y], count[y], level[y], born[y]
            for s in range(spans):
                differences(shown, known, starts[s], ends[s], change)
                bounds = factor, low, high, starts[s], ends[s]
                alive(counts, here, change, levels, births, *bounds, now, life, color_limit, stays, lasts)
            for k in range(begins[y], begins[y + 1]):  # what was refined now
                x = indices[k] - y * width
                found = fused[y, x] * back[x]
                if gate[k] >= 1 or not (found > 0 and np.isfinite(found)):  # nothing was learned
                    continue
                stays[x], lasts[x] = 0, 0
                many, held = np.int32(count[y, x]), depth[y, x]
                if many > 0 and abs(found - held) <= same_limit * held:
                    many = min(many + np.int32(1), most)
                    found = held + (found - held) * one_of[many]
                elif many > 1:  # most of those before agreed on another depth
                    many, found = many // np.int32(2), held
                else:
                    many = np.int32(1)
                fused[y, x] = found * factor[x]
                count[y, x], depth[y, x], level[y, x], born[y, x] = many, found, base[y, x] * back[x], now
                entropy[y, x], keeps[y, x] = choice[0, k], choice[1, k]
                color[y, x, 0], color[y, x, 1], color[y, x, 2] = image[y, x, 0], image[y, x, 1], image[y, x, 2]
                fresh[cell_of[x]] += 1
                fresh_left[cell_of[x]] += np.float32(1) - one_of[many + 1]
            depths, answers = depth[y], fused[y]
            for s in range(spans):
                keep(stays, depths, factor, answers, lasts, starts[s], ends[s], kept, lasting)
        for j in range(w):
            number[i, j], left[i, j] = fresh[j], fresh_left[j]
            for x in range(columns[j], columns[j + 1]):
                number[i, j] += kept[x]
                left[i, j] += lasting[x]
