"""``normals.fit_by_torch`` and ``normals.normals_by_torch`` compiled, for the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.buffers import BufferPool
from depth_retrofit_ros.device.kernel_cache import FAST_WITH_INFINITY, cached_njit
from depth_retrofit_ros.device.thread_pool import THREAD_POOL, fetch_add

POOL = BufferPool()


def fit_planes(
    cells: torch.Tensor, window: tuple[int, int], straight: float, condition: float, stride: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slopes across and down of inverse depth ``float32 [h, w]``. window: reach and step; see ``normals``."""
    reach, step = window
    steps = range(-reach, reach + 1, step)
    ahead = [(y, x) for y in steps for x in steps if (y, x) > (0, 0)]  # the other half are their opposites
    padded = np.full((cells.shape[0] + 2 * reach, cells.shape[1] + 2 * reach), np.nan, np.float32)
    padded[reach:-reach, reach:-reach] = cells.numpy()
    out = np.empty((2, *cells.shape), np.float32)
    arguments = np.array(ahead, np.int64), padded, reach, np.float32(straight), np.float32(condition), np.float32(stride), out
    next_row = np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: _fit_rows(*arguments, next_row))
    across, down = torch.from_numpy(out)
    return across, down


@cached_njit(nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
def _fit_rows(
    offsets: np.ndarray,
    padded: np.ndarray,
    reach: int,
    straight: np.float32,
    condition: np.float32,
    stride: np.float32,
    out: np.ndarray,
    next_row: np.ndarray,
) -> None:
    """A row at a time, taken from ``next_row``; offsets: ``int64 [n, 2]`` (row, column), each standing for its opposite as well."""
    width = out.shape[2]
    zero, one = np.float32(0), np.float32(1)
    sums = np.empty((5, width), np.float32)
    while True:
        row = fetch_add(next_row, 1)
        if row >= out.shape[1]:
            return
        sums[:] = zero
        here = padded[row + reach, reach : reach + width]
        for index in range(offsets.shape[0]):
            dy, dx = offsets[index, 0], offsets[index, 1]
            x, y = np.float32(dx), np.float32(dy)
            forward = padded[row + reach + dy, reach + dx : reach + dx + width]
            backward = padded[row + reach - dy, reach - dx : reach - dx + width]
            for column in range(width):
                limit = straight * here[column]
                plus, minus = forward[column] - here[column], backward[column] - here[column]
                line = abs(plus + minus) <= limit
                ahead = one if line or abs(plus) <= limit else zero
                behind = one if line or abs(minus) <= limit else zero
                count = ahead + behind
                change = (plus if ahead > zero else zero) - (minus if behind > zero else zero)
                sums[0, column] += count * (x * x)
                sums[1, column] += count * (x * y)
                sums[2, column] += count * (y * y)
                sums[3, column] += change * x
                sums[4, column] += change * y
        for column in range(width):
            xx, xy, yy = sums[0, column], sums[1, column], sums[2, column]
            both = xx * yy
            determinant = both - xy * xy
            if determinant > condition * both and both > zero:
                scale = one / (determinant * stride)
                out[0, row, column] = (yy * sums[3, column] - xy * sums[4, column]) * scale
                out[1, row, column] = (xx * sums[4, column] - xy * sums[3, column]) * scale
            else:
                out[0, row, column] = out[1, row, column] = np.float32(np.nan)


def take_normals(
    depth: torch.Tensor, planes: Sequence[torch.Tensor], camera: Camera, stride: int, tolerances: tuple[float, float]
) -> torch.Tensor:
    """Normals ``float32 [3, H, W]`` of depth ``float32 [H, W]``. planes: value, slopes across and down, as in ``CellPlanes``."""
    POOL.sweep()
    out = POOL.empty((3, *depth.shape))
    x, y = camera.ray_slopes()
    value, across, down = (part.contiguous().numpy() for part in planes)
    limits = np.float32(tolerances[0]), np.float32(tolerances[1])
    focal = np.float32(camera.fx), np.float32(camera.fy)
    arguments = depth.contiguous().numpy(), value, across, down, x, y, focal, stride, limits, out.numpy()
    next_row = np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: _take_rows(*arguments, next_row))
    return out


@cached_njit(nogil=True, fastmath=FAST_WITH_INFINITY, error_model="numpy")
def _take_rows(
    depth: np.ndarray,
    value: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    x_slope: np.ndarray,
    y_slope: np.ndarray,
    focal: tuple[np.float32, np.float32],
    stride: int,
    limits: tuple[np.float32, np.float32],
    out: np.ndarray,
    next_row: np.ndarray,
) -> None:
    """A row at a time, taken from ``next_row``."""
    height, width = depth.shape
    low_h, low_w = value.shape
    start = stride // 2
    zero, one, infinite, unknown = np.float32(0), np.float32(1), np.float32(np.inf), np.float32(np.nan)
    on_plane, near_plane = limits
    level = np.empty((2, low_w + 1), np.float32)  # of the planes above and below this row, at column 0
    right, below = np.zeros((2, low_w + 1), np.float32), np.zeros((2, low_w + 1), np.float32)
    inverse, slope_x, slope_y = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    while True:
        row = fetch_add(next_row, 1)
        if row >= height:
            return
        upper = min(max((row - start) // stride, 0), max(0, low_h - 2))
        share_y = min(max(np.float32(row - start - upper * stride) / np.float32(stride), zero), one)
        for side in range(2):
            i = min(upper + side, low_h - 1)
            dy = np.float32(row - start - i * stride)
            for j in range(low_w):
                a, b, c = across[i, j], down[i, j], value[i, j]
                there = abs(a) < infinite and abs(b) < infinite and c < infinite
                level[side, j] = c + b * dy - a * np.float32(start + j * stride) if there else infinite
                right[side, j] = a if there else zero
                below[side, j] = b if there else zero
            level[side, low_w], right[side, low_w], below[side, low_w] = (
                level[side, low_w - 1],
                right[side, low_w - 1],
                below[side, low_w - 1],
            )
        for x in range(width):
            z = depth[row, x]
            inverse[x] = one / z if z > zero and z < infinite else unknown
        for j in range(max(1, low_w - 1)):
            first = 0 if j == 0 else start + j * stride
            last = width if j >= low_w - 2 else start + (j + 1) * stride
            l00, l01, l10, l11 = level[0, j], level[0, j + 1], level[1, j], level[1, j + 1]
            a00, a01, a10, a11 = right[0, j], right[0, j + 1], right[1, j], right[1, j + 1]
            b00, b01, b10, b11 = below[0, j], below[0, j + 1], below[1, j], below[1, j + 1]
            for x in range(first, last):
                w, fx = inverse[x], np.float32(x)
                share = min(max(np.float32(x - start - j * stride) / np.float32(stride), zero), one)
                p00, p01, p10, p11 = l00 + a00 * fx, l01 + a01 * fx, l10 + a10 * fx, l11 + a11 * fx
                e00, e01, e10, e11 = abs(p00 - w), abs(p01 - w), abs(p10 - w), abs(p11 - w)
                limit = on_plane * w
                w00 = (one - share_y) * (one - share) if e00 <= limit else zero
                w01 = (one - share_y) * share if e01 <= limit else zero
                w10 = share_y * (one - share) if e10 <= limit else zero
                w11 = share_y * share if e11 <= limit else zero
                total = w00 + w01 + w10 + w11
                best, p, a, b = (e00, p00, a00, b00) if p00 > zero else (infinite, one, zero, zero)
                best, p, a, b = (e01, p01, a01, b01) if e01 < best and p01 > zero else (best, p, a, b)
                best, p, a, b = (e10, p10, a10, b10) if e10 < best and p10 > zero else (best, p, a, b)
                best, p, a, b = (e11, p11, a11, b11) if e11 < best and p11 > zero else (best, p, a, b)
                share = w / p  # parallel to that plane, through the pixel
                a, b = (a * share, b * share) if best <= near_plane * w and best < infinite else (infinite, infinite)
                mean = one / total
                slope_x[x] = (w00 * a00 + w01 * a01 + w10 * a10 + w11 * a11) * mean if total > zero else a
                slope_y[x] = (w00 * b00 + w01 * b01 + w10 * b10 + w11 * b11) * mean if total > zero else b
        for x in range(width):
            if slope_x[x] == infinite:
                slope_x[x] = _smaller(
                    inverse[x], depth[row, x - 1] if x > 0 else unknown, depth[row, x + 1] if x < width - 1 else unknown
                )
                slope_y[x] = _smaller(
                    inverse[x], depth[row - 1, x] if row > 0 else unknown, depth[row + 1, x] if row < height - 1 else unknown
                )
        y = y_slope[row]
        for x in range(width):
            a, b = slope_x[x] * focal[0], slope_y[x] * focal[1]
            c = inverse[x] - a * x_slope[x] - b * y
            scale = -one / np.sqrt(a * a + b * b + c * c)
            out[0, row, x], out[1, row, x], out[2, row, x] = a * scale, b * scale, c * scale


@cached_njit(nogil=True, error_model="numpy")
def _smaller(inverse: np.float32, before: np.float32, after: np.float32) -> np.float32:
    """The slope to that of two neighbours, given as depth, which is nearer in inverse depth; 0 where neither is known."""
    zero, infinite = np.float32(0), np.float32(np.inf)
    behind = inverse - np.float32(1) / before if before > zero and before < infinite else infinite
    ahead = np.float32(1) / after - inverse if after > zero and after < infinite else infinite
    slope = ahead if abs(ahead) <= abs(behind) else behind
    return slope if abs(slope) < infinite else zero
