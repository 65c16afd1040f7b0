"""``mixtures.mixture_maps_by_torch`` in one compiled pass, for the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add


@functools.cache
def mixture_kernel(windows: tuple[tuple[int, int], ...], extremes: int) -> Callable[..., None]:
    """For these ``mixtures.WINDOWS`` and reach to the extremes: constants to the compiler; and as part of a closure, constants that
    the cache of compiled kernels knows."""
    widest = max(extremes, *(max(side // 2, reach) for side, reach in windows))
    count = len(windows)
    sides, reaches = np.array([side // 2 for side, _ in windows]), np.array([reach for _, reach in windows])

    @cached_njit(nogil=True, fastmath={"contract", "nsz"})
    def mixtures(inverse: np.ndarray, image: np.ndarray, out: np.ndarray, next_row: np.ndarray) -> None:
        """inverse ``float32 [h, w]``; image ``float32 [h, w, 3]`` → out ``float32 [h, w, CHANNELS]``. A row at a time, taken from
        ``next_row`` (``fetch_add``), so that several threads can call it with the same arguments."""
        height, width = inverse.shape
        rows, columns = np.empty(2 * widest + 1, np.int64), np.empty(2 * widest + 1, np.int64)
        while True:
            y = fetch_add(next_row, 1)
            if y >= height:
                return
            for d in range(-widest, widest + 1):
                rows[d + widest] = min(max(y + d, 0), height - 1)
            for x in range(width):
                for d in range(-widest, widest + 1):
                    columns[d + widest] = min(max(x + d, 0), width - 1)
                cell = out[y, x]
                for k in range(count):
                    reach, side = reaches[k], sides[k]
                    far, at_y, at_x = np.float32(np.inf), y, x
                    for i in range(widest - reach, widest + reach + 1):
                        for j in range(widest - reach, widest + reach + 1):
                            value = inverse[rows[i], columns[j]]
                            if value < far:
                                far, at_y, at_x = value, rows[i], columns[j]
                    total = red = green = blue = np.float32(0)
                    for i in range(widest - side, widest + side + 1):
                        for j in range(widest - side, widest + side + 1):
                            color = image[rows[i], columns[j]]
                            total += inverse[rows[i], columns[j]]
                            red += color[0]
                            green += color[1]
                            blue += color[2]
                    share = np.float32(1 / (2 * side + 1) ** 2)
                    background = image[at_y, at_x]
                    part = cell[8 * k : 8 * k + 8]
                    part[0], part[1], part[2], part[3] = far, background[0], background[1], background[2]
                    part[4], part[5] = total * share - far, red * share - background[0]
                    part[6], part[7] = green * share - background[1], blue * share - background[2]
                near, near_y, near_x = np.float32(-np.inf), y, x
                far, far_y, far_x = np.float32(np.inf), y, x
                for i in range(widest - extremes, widest + extremes + 1):
                    for j in range(widest - extremes, widest + extremes + 1):
                        value = inverse[rows[i], columns[j]]
                        if value > near:
                            near, near_y, near_x = value, rows[i], columns[j]
                        if value < far:
                            far, far_y, far_x = value, rows[i], columns[j]
                rest = cell[8 * count :]
                rest[0], rest[4] = near, far
                for c in range(3):
                    rest[1 + c], rest[5 + c] = image[near_y, near_x, c], image[far_y, far_x, c]

    return mixtures
