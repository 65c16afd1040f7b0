"""``mixtures.mixture_maps_by_torch`` in one compiled pass, for the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add


@functools.cache
def mixture_kernel(windows: tuple[tuple[int, int], ...], extremes: int, overshoot: float) -> Callable[..., None]:
    """For these ``mixtures.WINDOWS``, reach to the extremes and ``mixtures.OVERSHOOT``: constants to the compiler; and as part of a
    closure, constants that the cache of compiled kernels knows."""
    widest = max(extremes, *(max(side // 2, reach) for side, reach in windows))
    count = len(windows)
    sides = np.array([side // 2 for side, _ in windows])
    # Each search once: the nearest, and the farthest within every reach that is asked for.
    reaches = [extremes, *sorted({extremes, *(reach for _, reach in windows)})]
    searches, signs = np.array(reaches), np.array([-1.0] + [1.0] * (len(reaches) - 1), np.float32)
    farthest = 1 + reaches[1:].index(extremes)
    backgrounds = np.array([1 + reaches[1:].index(reach) for _, reach in windows])
    beyond = np.float32(overshoot)

    @cached_njit(nogil=True, fastmath={"contract", "nsz"})
    def mixtures(inverse: np.ndarray, image: np.ndarray, out: np.ndarray, next_row: np.ndarray) -> None:
        """inverse ``float32 [h, w]``; image ``float32 [h, w, 3]`` → out ``float32 [h, w, CHANNELS]``. A row at a time, taken from
        ``next_row`` (``fetch_add``), so that several threads can call it with the same arguments.

        Minima and means go down the columns first, then along the row. Of equal values the first in reading order counts."""
        height, width = inverse.shape
        rows = np.empty(2 * widest + 1, np.int64)
        lowest, lowest_row = np.empty(width, np.float32), np.empty(width, np.int32)
        at_y, at_x = np.empty((searches.size, width), np.int64), np.empty((searches.size, width), np.int64)
        sums = np.empty((width, 4), np.float32)
        while True:
            y = fetch_add(next_row, 1)
            if y >= height:
                return
            for d in range(-widest, widest + 1):
                rows[d + widest] = min(max(y + d, 0), height - 1)
            for s in range(searches.size):
                reach, sign = searches[s], signs[s]
                lowest[:] = np.float32(np.inf)
                lowest_row[:] = y
                for i in range(widest - reach, widest + reach + 1):
                    line, row = inverse[rows[i]], np.int32(rows[i])
                    for x in range(width):
                        value = sign * line[x]
                        if value < lowest[x]:
                            lowest[x] = value
                            lowest_row[x] = row
                for x in range(width):
                    best, best_row, best_column = np.float32(np.inf), y, x
                    for d in range(-reach, reach + 1):
                        column = min(max(x + d, 0), width - 1)
                        value = lowest[column]
                        if value < best or (value == best and lowest_row[column] < best_row):
                            best, best_row, best_column = value, np.int64(lowest_row[column]), column
                    at_y[s, x], at_x[s, x] = best_row, best_column
            for k in range(count):
                side, search = sides[k], backgrounds[k]
                sums[:] = np.float32(0)
                for i in range(widest - side, widest + side + 1):
                    line, colors = inverse[rows[i]], image[rows[i]]
                    for x in range(width):
                        sums[x, 0] += line[x]
                        sums[x, 1] += colors[x, 0]
                        sums[x, 2] += colors[x, 1]
                        sums[x, 3] += colors[x, 2]
                share = np.float32(1 / (2 * side + 1) ** 2)
                for x in range(width):
                    total = red = green = blue = np.float32(0)
                    for d in range(-side, side + 1):
                        part = sums[min(max(x + d, 0), width - 1)]
                        total += part[0]
                        red += part[1]
                        green += part[2]
                        blue += part[3]
                    far, background = inverse[at_y[search, x], at_x[search, x]], image[at_y[search, x], at_x[search, x]]
                    cell = out[y, x, 8 * k : 8 * k + 8]
                    cell[0], cell[1], cell[2], cell[3] = far, background[0], background[1], background[2]
                    cell[4], cell[5] = total * share - far, red * share - background[0]
                    cell[6], cell[7] = green * share - background[1], blue * share - background[2]
            for x in range(width):
                near, far = inverse[at_y[0, x], at_x[0, x]], inverse[at_y[farthest, x], at_x[farthest, x]]
                cell = out[y, x, 8 * count :]
                cell[0], cell[4], cell[8] = -np.log(near), -np.log(far), -np.log(far + beyond * (near - far))
                for c in range(3):
                    cell[1 + c] = image[at_y[0, x], at_x[0, x], c]
                    cell[5 + c] = image[at_y[farthest, x], at_x[farthest, x], c]

    return mixtures
