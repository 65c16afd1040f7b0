"""``filters.kept_depth`` compiled, over rows in parallel, into buffers that are used again; and the cloud of what it leaves."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import THREAD_POOL, fetch_add
from depth_retrofit_ros.pointcloud.filters import Limits
from depth_retrofit_ros.pointcloud.organized import cloud_size
from depth_retrofit_ros.pointcloud.ray_grid import Rays

ROWS = 16  # a piece of work
WORDS = 16


class DepthFilter:
    """Keeps its buffers for the next frame of the same size."""

    def __init__(self) -> None:
        self._kept, self._mask = np.empty((0, 0), np.float32), np.empty((0, 0), np.uint64)
        self._distance = np.empty((0, 0), np.float32)

    def __call__(self, depth: np.ndarray, rays: Rays[np.ndarray], stride: int, limits: Limits) -> np.ndarray:
        """See ``kept_depth``: depth ``float32 [H, W]`` of the whole image → ``float32 [h, w]`` of every ``stride``-th pixel, which
        is written anew by the next call."""
        rows, columns = cloud_size(depth.shape[0], depth.shape[1], stride)
        if self._kept.shape != (rows, columns):
            self._kept = np.empty((rows, columns), np.float32)
            self._mask = np.zeros((rows, -(-columns // 8)), np.uint64)  # a byte a point
        kept, words, counters = self._kept, self._mask, np.zeros((4, 1), np.int64)
        mask = words.view(np.uint8)
        THREAD_POOL.run(lambda: _take(depth, stride, kept, counters[0], ROWS))
        if limits.steep is not None:
            ratios = np.asarray(limits.steep, np.float32)
            distance = kept if rays.stretch is None else self._distances(kept, rays.stretch)
            THREAD_POOL.run(lambda: _find_steep(distance, ratios, limits.gaps[0], mask, words, counters[1], ROWS))
            THREAD_POOL.run(lambda: _close_columns(mask, words, limits.gaps[1], counters[2], WORDS))
        near, far = (np.float32(number) for number in limits.squared)
        box = limits.turn, limits.shift, limits.low, limits.high
        steep = limits.steep is not None
        THREAD_POOL.run(lambda: _keep(rays.x, rays.y, near, far, limits.boxed, *box, steep, mask, kept, counters[3], ROWS))
        return kept

    def _distances(self, depth: np.ndarray, stretch: np.ndarray) -> np.ndarray:
        if self._distance.shape != depth.shape:
            self._distance = np.empty_like(depth)
        return np.multiply(depth, stretch, out=self._distance)


@cached_njit(nogil=True)
def _take(depth: np.ndarray, stride: int, kept: np.ndarray, counter: np.ndarray, rows_at_once: int) -> None:
    rows, columns = kept.shape
    while True:
        first = fetch_add(counter, rows_at_once)
        if first >= rows:
            return
        for row in range(first, min(first + rows_at_once, rows)):
            here, out = depth[row * stride], kept[row]
            for column in range(columns):
                out[column] = here[column * stride]


@cached_njit(nogil=True)
def _find_steep(
    depth: np.ndarray,
    ratios: np.ndarray,
    gap: int,
    mask: np.ndarray,
    words: np.ndarray,
    counter: np.ndarray,
    rows_at_once: int,
) -> None:
    """mask: bit 1 where a point lies on too steep a slope, bit 2 where it lies in a gap of its row; words: the same memory, eight
    points each."""
    rows, columns = depth.shape
    across, down = ratios[0], ratios[1]
    while True:
        first = fetch_add(counter, rows_at_once)
        if first >= rows:
            return
        for row in range(first, min(first + rows_at_once, rows)):
            here, found = depth[row], mask[row]
            found[0] = found[columns - 1] = 0
            before, middle, after, inner = here[:-2], here[1:-1], here[2:], found[1:]
            for column in range(columns - 2):
                a, b, c = before[column], middle[column], after[column]
                up, falls = (a * across < b) & (b * across < c), (a > b * across) & (b > c * across)
                inner[column] = up | falls
            if 0 < row < rows - 1:
                above, below = depth[row - 1], depth[row + 1]
                for column in range(columns):
                    a, b, c = above[column], here[column], below[column]
                    up, falls = (a * down < b) & (b * down < c), (a > b * down) & (b > c * down)
                    found[column] |= up | falls
            last = -columns - gap - 2
            for word in range(words.shape[1]):
                if words[row, word] == 0:
                    continue
                for column in range(8 * word, min(8 * word + 8, columns)):
                    if found[column] & 1:
                        if 1 < column - last <= gap + 1:
                            for between in range(last + 1, column):
                                found[between] |= 2
                        last = column


@cached_njit(nogil=True)
def _close_columns(mask: np.ndarray, words: np.ndarray, gap: int, counter: np.ndarray, words_at_once: int) -> None:
    """Bit 2 also where a point lies in a gap of its column."""
    rows, count = words.shape
    last = np.empty(8 * words_at_once, np.int64)
    while True:
        first = fetch_add(counter, words_at_once)
        if first >= count:
            return
        last[:] = -rows - gap - 2
        for row in range(rows):
            for word in range(first, min(first + words_at_once, count)):
                if words[row, word] == 0:
                    continue
                for column in range(8 * word, 8 * word + 8):
                    if mask[row, column] & 1:
                        before = last[column - 8 * first]
                        if 1 < row - before <= gap + 1:
                            for between in range(before + 1, row):
                                mask[between, column] |= 2
                        last[column - 8 * first] = row


@cached_njit(nogil=True)
def _keep(
    x_slope: np.ndarray,
    y_slope: np.ndarray,
    near: float,
    far: float,
    boxed: bool,
    turn: np.ndarray,
    shift: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    masked: bool,
    mask: np.ndarray,
    kept: np.ndarray,
    counter: np.ndarray,
    rows_at_once: int,
) -> None:
    rows, columns = kept.shape
    constant = np.empty(columns, np.float32)
    while True:
        first = fetch_add(counter, rows_at_once)
        if first >= rows:
            return
        for row in range(first, min(first + rows_at_once, rows)):
            out, found = kept[row], mask[row]
            x_over_z, y_over_z = x_slope[min(row, len(x_slope) - 1)], y_slope[row]
            if len(y_over_z) < columns:
                constant[:] = y_over_z[0]
                y_over_z = constant
            for column in range(columns):
                z = out[column]
                x, y = x_over_z[column] * z, y_over_z[column] * z
                squared = x * x + y * y + z * z
                good = (z > np.float32(0)) & (z < np.float32(np.inf)) & (squared >= near) & (squared <= far)
                out[column] = z if good else np.float32(np.nan)
            if masked:
                for column in range(columns):
                    out[column] = np.float32(np.nan) if found[column] else out[column]
            if boxed:
                for column in range(columns):
                    z = out[column]
                    x, y = x_over_z[column] * z, y_over_z[column] * z
                    for axis in range(3):
                        along = turn[axis, 0] * x + turn[axis, 1] * y + turn[axis, 2] * z + shift[axis]
                        if not (along >= low[axis] and along <= high[axis]):
                            out[column] = np.float32(np.nan)


@cached_njit(nogil=True)
def fill_kept(
    kept: np.ndarray,
    image: np.ndarray,
    x_slope: np.ndarray,
    y_slope: np.ndarray,
    stride: int,
    intensity: bool,
    xyz: np.ndarray,
    packed: np.ndarray,
) -> None:
    """The organised cloud of kept depth ``float32 [h, w]``; slopes: see ``Rays``; the image is the whole one; xyz, packed: see
    ``organized.fill_cloud``."""
    rows, columns = kept.shape
    y_last = y_slope.shape[1] - 1
    for row in range(rows):
        x_over_z, y_over_z = x_slope[min(row, len(x_slope) - 1)], y_slope[row]
        for column in range(columns):
            z, u, v = kept[row, column], column * stride, row * stride
            xyz[row, column, 0], xyz[row, column, 1], xyz[row, column, 2] = (
                x_over_z[column] * z,
                y_over_z[min(column, y_last)] * z,
                z,
            )
            red, green, blue = image[v, u, 0], image[v, u, 1], image[v, u, 2]
            if intensity:
                xyz[row, column, 3] = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
            else:
                packed[row, column, 3] = (np.uint32(red) << np.uint32(16)) | (np.uint32(green) << np.uint32(8)) | np.uint32(blue)
