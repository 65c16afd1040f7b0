"""Selection compiled for the CPU. The full-size score exists only row by row; making it again costs less than storing it."""

from __future__ import annotations

import numba
import numpy as np
import torch

from depth_retrofit_ros.buffers import BufferPool
from depth_retrofit_ros.selection.pixel_set import PixelSet
from depth_retrofit_ros.team import TEAM, claim

BINS = 1 << 16
ROWS = 16  # that a thread takes at once
POOL = BufferPool()

Grid = tuple[np.ndarray, np.ndarray]


def select_top(score: torch.Tensor, size: tuple[int, int], count: int) -> PixelSet:
    """See ``budget.select_top``; count: 1 to H·W."""
    height, width = size
    coarse = score.float().contiguous().numpy()
    rows, columns = interpolation(score.shape[0], height), interpolation(score.shape[1], width)

    upper, above = bin_of_rank(histogram(coarse, rows, columns, None), count, 0)
    upper -= BINS // 2
    lower, above = bin_of_rank(histogram(coarse, rows, columns, upper), count, above)
    threshold = (upper << 16) + lower

    POOL.sweep()
    indices, image = POOL.empty((count,), torch.int64), POOL.empty(size, torch.int32)
    over_and_equal = np.zeros((height + 1, 2), np.int64)
    arguments = coarse, rows, columns, threshold
    counted = (*arguments, over_and_equal, _counter())
    TEAM.run(lambda: count_rows(*counted))
    starts = np.cumsum(over_and_equal, 0)  # of the row below each
    written = (*arguments, starts, count - above, indices.numpy(), image.numpy(), _counter())
    TEAM.run(lambda: write_rows(*written))
    return PixelSet(indices, image)


def interpolation(low: int, high: int) -> Grid:
    """For each of ``high`` fine positions the coarse one at or before it ``int32``, and the weight of the next ``float32``."""
    position = ((np.arange(high, dtype=np.float32) + np.float32(0.5)) * np.float32(low / high) - np.float32(0.5)).clip(0, low - 1)
    first = np.floor(position)
    return first.astype(np.int32), (position - first).astype(np.float32)


def histogram(score: np.ndarray, rows: Grid, columns: Grid, upper_half: int | None) -> np.ndarray:
    """Of the upper halves of all keys or, of the keys with this upper half, of the lower halves. ``int32 [BINS]``."""
    parts = np.zeros((torch.get_num_threads(), BINS), np.int32)
    arguments = score, rows, columns, upper_half is not None, upper_half or 0, parts, _counter(), _counter()
    TEAM.run(lambda: add_to_histogram(*arguments))
    return parts.sum(0, dtype=np.int32)


def bin_of_rank(histogram: np.ndarray, count: int, above: int) -> tuple[int, int]:
    """The bin with the ``count``-th highest of all, and how many are above that bin, ``above`` of them outside the histogram."""
    from_the_top = above + np.cumsum(histogram[::-1])
    position = int(np.searchsorted(from_the_top, count))
    return len(histogram) - 1 - position, int(from_the_top[position]) - int(histogram[-1 - position])


def _counter() -> np.ndarray:
    return np.zeros(1, np.int64)


@numba.njit(nogil=True, cache=True)
def fill_keys(score: np.ndarray, row: int, weight: float, columns: Grid, blended: np.ndarray, line: np.ndarray) -> None:
    """One fine row as integers of the same order. line: ``float32 [W]``, whose bits become the keys; blended: ``[w + 1]``."""
    height, width = score.shape
    below = min(row + 1, height - 1)
    for j in range(width):
        blended[j] = score[row, j] + (score[below, j] - score[row, j]) * weight
    blended[width] = blended[width - 1]
    left, weights = columns
    for x in range(line.shape[0]):
        start = blended[left[x]]
        # A row of equal scores stays one: the difference is exactly 0. + 0 makes −0 an ordinary zero.
        line[x] = start + (blended[left[x] + 1] - start) * weights[x] + np.float32(0)
    keys = line.view(np.int32)
    for x in range(keys.shape[0]):  # a loop of its own, which the compiler can make vectors of
        keys[x] ^= (keys[x] >> np.int32(31)) & np.int32(0x7FFFFFFF)


@numba.njit(nogil=True, cache=True)
def add_to_histogram(
    score: np.ndarray,
    rows: Grid,
    columns: Grid,
    lower: bool,
    upper_half: int,
    parts: np.ndarray,
    part: np.ndarray,
    counter: np.ndarray,
) -> None:
    """See ``histogram``; each thread counts into a part of its own, of which there are ``int32 [threads, BINS]``."""
    mine = claim(part, 1)
    if mine >= parts.shape[0]:
        return
    counts = parts[mine]
    blended, line = np.empty(score.shape[1] + 1, np.float32), np.empty(columns[0].shape[0], np.float32)
    keys = line.view(np.int32)
    while True:
        begin = claim(counter, ROWS)
        if begin >= rows[0].shape[0]:
            return
        for y in range(begin, min(begin + ROWS, rows[0].shape[0])):
            fill_keys(score, rows[0][y], rows[1][y], columns, blended, line)
            if lower:
                for x in range(keys.shape[0]):
                    if keys[x] >> 16 == upper_half:
                        counts[keys[x] & (BINS - 1)] += 1
            else:
                for x in range(keys.shape[0]):
                    counts[(keys[x] >> 16) + BINS // 2] += 1


@numba.njit(nogil=True, cache=True)
def count_rows(
    score: np.ndarray, rows: Grid, columns: Grid, threshold: int, over_and_equal: np.ndarray, counter: np.ndarray
) -> None:
    """Of each row y, how many keys are over the threshold and how many equal to it, into ``over_and_equal[y + 1]``."""
    blended, line = np.empty(score.shape[1] + 1, np.float32), np.empty(columns[0].shape[0], np.float32)
    keys, limit = line.view(np.int32), np.int32(threshold)
    while True:
        begin = claim(counter, ROWS)
        if begin >= rows[0].shape[0]:
            return
        for y in range(begin, min(begin + ROWS, rows[0].shape[0])):
            fill_keys(score, rows[0][y], rows[1][y], columns, blended, line)
            over = equal = np.int32(0)
            for x in range(keys.shape[0]):
                over += keys[x] > limit
                equal += keys[x] == limit
            over_and_equal[y + 1, 0], over_and_equal[y + 1, 1] = over, equal


@numba.njit(nogil=True, cache=True)
def write_rows(
    score: np.ndarray,
    rows: Grid,
    columns: Grid,
    threshold: int,
    starts: np.ndarray,
    ties: int,
    indices: np.ndarray,
    image: np.ndarray,
    counter: np.ndarray,
) -> None:
    """Fill indices and index image. starts: (over, equal) in all rows before each; ties: how many of the equal ones are taken."""
    blended, line = np.empty(score.shape[1] + 1, np.float32), np.empty(columns[0].shape[0], np.float32)
    keys, limit = line.view(np.int32), np.int32(threshold)
    height, width = image.shape
    while True:
        begin = claim(counter, ROWS)
        if begin >= height:
            return
        for y in range(begin, min(begin + ROWS, height)):
            fill_keys(score, rows[0][y], rows[1][y], columns, blended, line)
            left = max(ties - starts[y, 1], 0)
            found = starts[y, 0] + min(starts[y, 1], ties)
            for x in range(width):
                image[y, x] = -1
                if keys[x] >= limit:
                    taken = keys[x] > limit
                    if not taken and left > 0:
                        left -= 1
                        taken = True
                    if taken:
                        image[y, x] = found
                        indices[found] = y * width + x
                        found += 1
