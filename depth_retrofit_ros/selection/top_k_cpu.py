"""Selection compiled for the CPU. The full-size score exists only row by row; making it again costs less than storing it."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import THREAD_POOL, fetch_add
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import Table, bilinear_table

BINS = 1 << 16
ROWS = 16  # that a thread takes at once
ROUNDING = 2e-6  # of the largest score, more than what interpolation in float32 is off; and, for the smallest numbers there are,
SMALLEST = 1e-43
POOL = BufferPool()

Runs = tuple[np.ndarray, np.ndarray]
"""Per row of the score: how many runs of fine columns there are ``int32 [h]``, and these, from begin to end ``int32 [h, n, 2]``."""


def select_top(score: torch.Tensor, size: tuple[int, int], count: int) -> PixelSet:
    """See ``top_k.select_top``; count: 1 to H·W."""
    height, width = size
    coarse = score.float().contiguous().numpy()
    grid = coarse, bilinear_table(score.shape[0], height), bilinear_table(score.shape[1], width)
    runs = promising_runs(*grid, count)

    upper, above = bin_of_rank(histogram(grid, runs, None), count, 0)
    upper -= BINS // 2
    lower, above = bin_of_rank(histogram(grid, runs, upper), count, above)
    threshold = (upper << 16) + lower

    POOL.sweep()
    indices, image = POOL.empty((count,), torch.int64), POOL.empty(size, torch.int32)
    over_and_equal = np.zeros((height + 1, 2), np.int64)
    counted = (*grid, runs, threshold, over_and_equal, _counter())
    THREAD_POOL.run(lambda: count_rows(*counted))
    starts = np.cumsum(over_and_equal, 0)  # of the row below each
    written = (*grid, runs, threshold, starts, count - above, indices.numpy(), image.numpy(), _counter())
    THREAD_POOL.run(lambda: write_rows(*written))
    return PixelSet(indices, image)


def histogram(grid: tuple[np.ndarray, Table, Table], runs: Runs, upper_half: int | None) -> np.ndarray:
    """Of the upper halves of all promising keys or, of those with this upper half, of the lower halves. ``int32 [BINS]``."""
    parts = np.zeros((torch.get_num_threads(), BINS), np.int32)
    arguments = *grid, runs, upper_half is not None, upper_half or 0, parts, _counter(), _counter()
    THREAD_POOL.run(lambda: add_to_histogram(*arguments))
    return parts.sum(0, dtype=np.int32)


def bin_of_rank(histogram: np.ndarray, count: int, above: int) -> tuple[int, int]:
    """The bin with the ``count``-th highest of all, and how many are above that bin, ``above`` of them outside the histogram."""
    from_the_top = above + np.cumsum(histogram[::-1])
    position = int(np.searchsorted(from_the_top, count))
    return len(histogram) - 1 - position, int(from_the_top[position]) - int(histogram[-1 - position])


def _counter() -> np.ndarray:
    return np.zeros(1, np.int64)


@cached_njit(nogil=True)
def promising_runs(score: np.ndarray, rows: Table, columns: Table, count: int) -> Runs:
    """Where the ``count`` highest can be, so that the rest of the frame need not be looked at.

    Between four coarse scores interpolation gives none below the least of them. So a bound below the ``count``-th highest is known
    from the coarse scores alone, and where even the greatest of four is under it, there is nothing to find.
    """
    h, w = score.shape
    starts = np.searchsorted(columns[0], np.arange(w + 1)).astype(np.int32)
    row_starts = np.searchsorted(rows[0], np.arange(h + 1))
    pixels = np.zeros(BINS, np.int64)
    least, greatest = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    bits = least.view(np.int32)
    largest = np.float32(0)
    for i in range(h):
        below = min(i + 1, h - 1)
        for j in range(w):
            a, b = score[i, j], score[below, j]
            c, d = score[i, min(j + 1, w - 1)], score[below, min(j + 1, w - 1)]
            least[i, j], greatest[i, j] = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
            largest = max(largest, abs(a))
            key = bits[i, j] ^ ((bits[i, j] >> np.int32(31)) & np.int32(0x7FFFFFFF))
            pixels[(key >> 16) + BINS // 2] += (row_starts[i + 1] - row_starts[i]) * (starts[j + 1] - starts[j])
    found, place = np.int64(0), BINS
    while found < count:
        place -= 1
        found += pixels[place]
    bound = np.float64(_score_of((place - BINS // 2) << 16)) - (ROUNDING * largest + SMALLEST)

    number, runs = np.zeros(h, np.int32), np.empty((h, (w + 1) // 2, 2), np.int32)
    for i in range(h):
        inside = False
        for j in range(w):
            promising = greatest[i, j] >= bound
            if promising and not inside:
                runs[i, number[i], 0] = starts[j]
                number[i] += 1
            if promising:
                runs[i, number[i] - 1, 1] = starts[j + 1]
            inside = promising
    return number, runs


@cached_njit(nogil=True)
def _score_of(key: int) -> float:
    """The score whose key this is."""
    bits = np.empty(1, np.int32)
    bits[0] = key ^ ((key >> 31) & 0x7FFFFFFF)
    return bits.view(np.float32)[0]


@cached_njit(nogil=True)
def blend(score: np.ndarray, row: int, weight: float, blended: np.ndarray) -> None:
    """The coarse scores at one fine row. blended: ``float32 [w + 1]``."""
    height, width = score.shape
    below = min(row + 1, height - 1)
    for j in range(width):
        blended[j] = score[row, j] + (score[below, j] - score[row, j]) * weight
    blended[width] = blended[width - 1]


@cached_njit(nogil=True)
def fill_keys(blended: np.ndarray, columns: Table, run: np.ndarray, line: np.ndarray) -> None:
    """A run of one fine row as integers of the same order. line: ``float32 [W]``, whose bits become the keys."""
    left, weights = columns
    for x in range(run[0], run[1]):
        start = blended[left[x]]
        # A row of equal scores stays one: the difference is exactly 0. + 0 makes −0 an ordinary zero.
        line[x] = start + (blended[left[x] + 1] - start) * weights[x] + np.float32(0)
    keys = line.view(np.int32)
    for x in range(run[0], run[1]):  # a loop of its own, which the compiler can make vectors of
        keys[x] ^= (keys[x] >> np.int32(31)) & np.int32(0x7FFFFFFF)


@cached_njit(nogil=True)
def add_to_histogram(
    score: np.ndarray,
    rows: Table,
    columns: Table,
    runs: Runs,
    lower: bool,
    upper_half: int,
    parts: np.ndarray,
    part: np.ndarray,
    counter: np.ndarray,
) -> None:
    """See ``histogram``; each thread counts into a part of its own, of which there are ``int32 [threads, BINS]``."""
    mine = fetch_add(part, 1)
    if mine >= parts.shape[0]:
        return
    counts = parts[mine]
    blended, line = np.empty(score.shape[1] + 1, np.float32), np.empty(columns[0].shape[0], np.float32)
    keys = line.view(np.int32)
    while True:
        begin = fetch_add(counter, ROWS)
        if begin >= rows[0].shape[0]:
            return
        for y in range(begin, min(begin + ROWS, rows[0].shape[0])):
            row = rows[0][y]
            blend(score, row, rows[1][y], blended)
            for run in runs[1][row, : runs[0][row]]:
                fill_keys(blended, columns, run, line)
                if lower:
                    for x in range(run[0], run[1]):
                        if keys[x] >> 16 == upper_half:
                            counts[keys[x] & (BINS - 1)] += 1
                else:
                    for x in range(run[0], run[1]):
                        counts[(keys[x] >> 16) + BINS // 2] += 1


@cached_njit(nogil=True)
def count_rows(
    score: np.ndarray,
    rows: Table,
    columns: Table,
    runs: Runs,
    threshold: int,
    over_and_equal: np.ndarray,
    counter: np.ndarray,
) -> None:
    """Of each row y, how many keys are over the threshold and how many equal to it, into ``over_and_equal[y + 1]``."""
    blended, line = np.empty(score.shape[1] + 1, np.float32), np.empty(columns[0].shape[0], np.float32)
    keys, limit = line.view(np.int32), np.int32(threshold)
    while True:
        begin = fetch_add(counter, ROWS)
        if begin >= rows[0].shape[0]:
            return
        for y in range(begin, min(begin + ROWS, rows[0].shape[0])):
            row = rows[0][y]
            blend(score, row, rows[1][y], blended)
            over = equal = np.int32(0)
            for run in runs[1][row, : runs[0][row]]:
                fill_keys(blended, columns, run, line)
                for x in range(run[0], run[1]):
                    over += keys[x] > limit
                    equal += keys[x] == limit
            over_and_equal[y + 1, 0], over_and_equal[y + 1, 1] = over, equal


@cached_njit(nogil=True)
def write_rows(
    score: np.ndarray,
    rows: Table,
    columns: Table,
    runs: Runs,
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
        begin = fetch_add(counter, ROWS)
        if begin >= height:
            return
        for y in range(begin, min(begin + ROWS, height)):
            row = rows[0][y]
            blend(score, row, rows[1][y], blended)
            left = max(ties - starts[y, 1], 0)
            found = starts[y, 0] + min(starts[y, 1], ties)
            image[y] = -1
            for run in runs[1][row, : runs[0][row]]:
                fill_keys(blended, columns, run, line)
                for x in range(run[0], run[1]):
                    if keys[x] >= limit:
                        taken = keys[x] > limit
                        if not taken and left > 0:
                            left -= 1
                            taken = True
                        if taken:
                            image[y, x] = found
                            indices[found] = y * width + x
                            found += 1
