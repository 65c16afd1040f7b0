"""Nearest neighbours in a cloud of points, exactly: a k-d tree in two compiled kernels."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit

LEAF = 12  # points that are compared one by one
DEEPEST = 64  # of the stack: a balanced tree of 2^64 points


class NearestPoints:
    """points: ``float [N, 3]``, N ≥ 1, finite; the tree keeps a copy."""

    def __init__(self, points: np.ndarray) -> None:
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
            raise ValueError(f"a tree needs finite points [N, 3], at least one, not {list(points.shape)}")
        self._points = np.array(points, np.float64)
        self._axes = np.zeros(len(points), np.int8)
        _build(self._points, self._axes, LEAF, DEEPEST)

    def distances(self, queries: np.ndarray) -> np.ndarray:
        """``float [M, 3]``, finite → distance to the nearest point, ``float64 [M]``."""
        out = np.empty(len(queries), np.float64)
        _query(self._points, self._axes, np.ascontiguousarray(queries, np.float64), LEAF, DEEPEST, out)
        return out


@cached_njit(nogil=True)
def _build(points: np.ndarray, axes: np.ndarray, leaf: int, deepest: int) -> None:
    """Order ``points`` in place: the middle one of each range splits it along ``axes[middle]``, its longest side."""
    begins, ends = np.empty(deepest, np.int64), np.empty(deepest, np.int64)
    begins[0], ends[0], used = 0, len(points), 1
    while used > 0:
        used -= 1
        begin, end = begins[used], ends[used]
        if end - begin <= leaf:
            continue
        axis, longest = 0, -1.0
        for candidate in range(3):
            low, high = points[begin, candidate], points[begin, candidate]
            for i in range(begin, end):
                value = points[i, candidate]
                low, high = min(low, value), max(high, value)
            if high - low > longest:
                axis, longest = candidate, high - low
        middle = (begin + end) // 2
        first, last = begin, end - 1
        while first < last:  # Hoare's selection of the middle one
            pivot = points[(first + last) // 2, axis]
            i, j = first, last
            while i <= j:
                while points[i, axis] < pivot:
                    i += 1
                while points[j, axis] > pivot:
                    j -= 1
                if i <= j:
                    for k in range(3):
                        held = points[i, k]
                        points[i, k] = points[j, k]
                        points[j, k] = held
                    i += 1
                    j -= 1
            if middle <= j:
                last = j
            elif middle >= i:
                first = i
            else:
                break
        axes[middle] = axis
        begins[used], ends[used] = begin, middle
        begins[used + 1], ends[used + 1] = middle + 1, end
        used += 2


@cached_njit(nogil=True)
def _query(points: np.ndarray, axes: np.ndarray, queries: np.ndarray, leaf: int, deepest: int, out: np.ndarray) -> None:
    begins, ends = np.empty(deepest, np.int64), np.empty(deepest, np.int64)
    bounds = np.empty(deepest, np.float64)
    for q in range(len(queries)):
        x, y, z = queries[q, 0], queries[q, 1], queries[q, 2]
        best = np.inf
        begins[0], ends[0], bounds[0], used = 0, len(points), 0.0, 1
        while used > 0:
            used -= 1
            if bounds[used] >= best:
                continue
            begin, end, bound = begins[used], ends[used], bounds[used]
            while end - begin > leaf:
                middle = (begin + end) // 2
                dx, dy, dz = points[middle, 0] - x, points[middle, 1] - y, points[middle, 2] - z
                best = min(best, dx * dx + dy * dy + dz * dz)
                axis = axes[middle]
                offset = queries[q, axis] - points[middle, axis]
                begins[used], ends[used] = (middle + 1, end) if offset < 0 else (begin, middle)
                bounds[used] = max(bound, offset * offset)
                used += 1
                begin, end = (begin, middle) if offset < 0 else (middle + 1, end)
            for i in range(begin, end):
                dx, dy, dz = points[i, 0] - x, points[i, 1] - y, points[i, 2] - z
                best = min(best, dx * dx + dy * dy + dz * dz)
        out[q] = np.sqrt(best)
