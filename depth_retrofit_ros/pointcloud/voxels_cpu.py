"""``voxels`` compiled: a hash table of the cells, of which those that were used are cleared, in buffers that are used again."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import THREAD_POOL
from depth_retrofit_ros.pointcloud.filters import CloudFilter
from depth_retrofit_ros.pointcloud.ray_grid import Rays
from depth_retrofit_ros.pointcloud.voxels import BITS, taken

FIRST_SLOTS = 1 << 16
SPARE = 32  # times as many slots as a frame has cells: some are given back
NO_KEY = -1


class Table:
    """Cells by their keys, room for half as many as there are slots."""

    def __init__(self, slots: int) -> None:
        self.keys, self.cells = np.full(slots, NO_KEY, np.int64), np.empty(slots, np.int32)
        self.used, self.sums = np.empty(slots // 2, np.int32), np.empty((slots // 2, 7), np.float64)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As the kernels take them."""
        return self.keys, self.cells, self.used, self.sums


class DenseCloud:
    """The points that a filter leaves, in buffers that grow where a frame needs more and are used again.

    The upper and the lower half of the image are counted side by side, and always by themselves: so sums do not depend on threads.
    """

    def __init__(self) -> None:
        self._slots = FIRST_SLOTS
        self._tables: list[Table] = []
        self._points = np.empty((0, 4), np.float32)

    @property
    def slots(self) -> int:
        """Of a table, as the next frame finds it."""
        return self._slots

    def __call__(self, kept: np.ndarray, image: np.ndarray, rays: Rays[np.ndarray], stride: int, cloud: CloudFilter) -> np.ndarray:
        """kept: depth ``float32 [h, w]`` along these rays, NaN where there is no point; image ``uint8 [H, W, 3]``, the whole one →
        ``float32 [N, 4]``, which is written anew by the next call."""
        if cloud.voxel_size <= 0:
            points = self._room(kept.size)
            count = _gather(kept, image, rays.x, rays.y, stride, cloud.intensity, points, points.view(np.uint32))
            points = points[:count]
            return points if cloud.max_points <= 0 or count <= cloud.max_points else points[taken(count, cloud.max_points)]
        count = self._fill_cells(kept, image, rays, stride, cloud)
        cells = taken(count, cloud.max_points)
        points = self._room(len(cells))
        _write(self._tables[0].sums, cells, cloud.intensity, points, points.view(np.uint32))
        if self._slots > FIRST_SLOTS and SPARE * count < self._slots:
            self._resize(self._slots // 2)
        return points[: len(cells)]

    def _fill_cells(self, kept: np.ndarray, image: np.ndarray, rays: Rays[np.ndarray], stride: int, cloud: CloudFilter) -> int:
        """The cells of the frame into the first table; returns how many there are."""
        scale, centroid = np.float32(1.0) / np.float32(cloud.voxel_size), cloud.voxel_point == "centroid"
        middle = len(kept) // 2
        while True:
            if not self._tables:
                self._tables = [Table(self._slots), Table(self._slots)]
            parts, counts = [(0, 0, middle), (1, middle, len(kept))], [0, 0]

            def work(parts: list[tuple[int, int, int]] = parts, counts: list[int] = counts) -> None:
                while parts:
                    try:
                        n, begin, end = parts.pop()
                    except IndexError:  # another thread took it
                        return
                    x = rays.x if len(rays.x) == 1 else rays.x[begin:end]
                    half = kept[begin:end], image[begin * stride :], x, rays.y[begin:end]
                    counts[n] = _accumulate(*half, stride, scale, centroid, BITS, *self._tables[n].arrays)

            THREAD_POOL.run(work)
            upper, lower = (table.arrays for table in self._tables)
            count = _merge(*upper, *lower, *counts, centroid) if min(counts) >= 0 else -1
            if count >= 0:
                _clear(upper[0], upper[2], count)
                return count
            self._resize(2 * self._slots)

    def _resize(self, slots: int) -> None:
        """The tables, which are made when they are used: where memory ends then, none is left half full."""
        self._slots, self._tables = slots, []

    def _room(self, count: int) -> np.ndarray:
        if len(self._points) < count:
            self._points = np.empty((count, 4), np.float32)
        return self._points


@cached_njit(nogil=True)
def _clear(keys: np.ndarray, used: np.ndarray, count: int) -> None:
    for n in range(count):
        keys[used[n]] = -1


@cached_njit(nogil=True)
def _merge(
    keys: np.ndarray,
    cells: np.ndarray,
    used: np.ndarray,
    sums: np.ndarray,
    other_keys: np.ndarray,
    other_cells: np.ndarray,
    other_used: np.ndarray,
    other_sums: np.ndarray,
    count: int,
    other_count: int,
    centroid: bool,
) -> int:
    """The other table's cells after, or into, those of the first; clears the other. Returns the number of cells, -1 where they do
    not fit."""
    slots = len(keys)
    for n in range(other_count):
        key = other_keys[other_used[n]]
        slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (slots - 1)
        while keys[slot] != -1 and keys[slot] != key:
            slot = (slot + 1) & (slots - 1)
        if keys[slot] == -1:
            if count == len(used):
                return -1
            keys[slot], cells[slot], used[count] = key, count, slot
            sums[count] = other_sums[n]
            count += 1
        elif centroid:
            sums[cells[slot]] += other_sums[n]
    _clear(other_keys, other_used, other_count)
    return count


@cached_njit(nogil=True)
def _accumulate(
    kept: np.ndarray,
    image: np.ndarray,
    x_slope: np.ndarray,
    y_slope: np.ndarray,
    stride: int,
    scale: float,
    centroid: bool,
    bits: int,
    keys: np.ndarray,
    cells: np.ndarray,
    used: np.ndarray,
    sums: np.ndarray,
) -> int:
    """slopes: see ``Rays``; sums: x y z, red green blue and the number of points of each cell. Returns the number of cells, -1
    where they do not fit."""
    rows, columns = kept.shape
    y_last = y_slope.shape[1] - 1
    half, slots = 1 << (bits - 1), len(keys)
    low, high = np.float32(-half), np.float32(half - 1)
    count, most, last_key, cell = 0, len(used), np.int64(-1), 0
    full = False
    ax = ay = az = ar = ag = ab = an = 0.0
    for row in range(rows):
        v = row * stride
        x_over_z, y_over_z = x_slope[min(row, len(x_slope) - 1)], y_slope[row]
        for column in range(columns):
            z = kept[row, column]
            if z != z:
                continue
            u = column * stride
            x, y = x_over_z[column] * z, y_over_z[min(column, y_last)] * z
            fx, fy, fz = x * scale, y * scale, z * scale
            if not (abs(fx) < high and abs(fy) < high and fz < high):  # beyond the last cell
                fx, fy, fz = min(max(fx, low), high), min(max(fy, low), high), min(fz, high)
            i, j, k = np.int64(fx), np.int64(fy), np.int64(fz)  # towards zero
            i, j = i - np.int64(fx < i) + half, j - np.int64(fy < j) + half
            k += half
            key = (i << (2 * bits)) | (j << bits) | k
            if key != last_key:
                if centroid and last_key >= 0:
                    sums[cell, 0] += ax
                    sums[cell, 1] += ay
                    sums[cell, 2] += az
                    sums[cell, 3] += ar
                    sums[cell, 4] += ag
                    sums[cell, 5] += ab
                    sums[cell, 6] += an
                ax = ay = az = ar = ag = ab = an = 0.0
                last_key = key
                slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (slots - 1)
                while keys[slot] != -1 and keys[slot] != key:
                    slot = (slot + 1) & (slots - 1)
                if keys[slot] == -1:
                    if count == most:
                        full = True
                        break
                    keys[slot], cells[slot], used[count] = key, count, slot
                    sums[count, :] = 0.0
                    if not centroid:
                        sums[count, 0], sums[count, 1], sums[count, 2], sums[count, 6] = x, y, z, 1.0
                        for channel in range(3):
                            sums[count, 3 + channel] = image[v, u, channel]
                    count += 1
                cell = cells[slot]
            if centroid:
                ax += x
                ay += y
                az += z
                ar += image[v, u, 0]
                ag += image[v, u, 1]
                ab += image[v, u, 2]
                an += 1.0
        if full:
            break
    if centroid and not full and last_key >= 0:
        for part, value in enumerate((ax, ay, az, ar, ag, ab, an)):
            sums[cell, part] += value
    return -1 if full else count


@cached_njit(nogil=True)
def _write(sums: np.ndarray, cells: np.ndarray, intensity: bool, xyz: np.ndarray, packed: np.ndarray) -> None:
    for n in range(len(cells)):
        of = sums[cells[n]]
        share = 1.0 / of[6]
        for axis in range(3):
            xyz[n, axis] = np.float32(of[axis] * share)
        red, green, blue = np.rint(of[3] * share), np.rint(of[4] * share), np.rint(of[5] * share)
        if intensity:
            xyz[n, 3] = np.float32(0.299 * red + 0.587 * green + 0.114 * blue)
        else:
            packed[n, 3] = (np.uint32(red) << np.uint32(16)) | (np.uint32(green) << np.uint32(8)) | np.uint32(blue)


@cached_njit(nogil=True)
def _gather(
    kept: np.ndarray,
    image: np.ndarray,
    x_slope: np.ndarray,
    y_slope: np.ndarray,
    stride: int,
    intensity: bool,
    xyz: np.ndarray,
    packed: np.ndarray,
) -> int:
    """All points, row by row; returns their number. slopes: see ``Rays``."""
    rows, columns = kept.shape
    count, y_last = 0, y_slope.shape[1] - 1
    for row in range(rows):
        v = row * stride
        x_over_z, y_over_z = x_slope[min(row, len(x_slope) - 1)], y_slope[row]
        for column in range(columns):
            z = kept[row, column]
            if z != z:
                continue
            u = column * stride
            xyz[count, 0], xyz[count, 1], xyz[count, 2] = x_over_z[column] * z, y_over_z[min(column, y_last)] * z, z
            red, green, blue = image[v, u, 0], image[v, u, 1], image[v, u, 2]
            if intensity:
                xyz[count, 3] = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
            else:
                packed[count, 3] = (np.uint32(red) << np.uint32(16)) | (np.uint32(green) << np.uint32(8)) | np.uint32(blue)
            count += 1
    return count
