"""Surface normals from depth, at the frame's own resolution, without mixing the two sides of a depth edge.

On a plane inverse depth is affine in image coordinates, and its slopes and value are the plane's normal. So a slope of inverse
depth is fitted around each of some 320 cells along the frame's long side, in a window of ±8 cells and to those pixels only that
lie on the same surface; and each pixel takes the slopes of those of the four cells around it whose planes it lies on. Refined depth
is no smoother than the coarse model made it: narrower windows show that model's noise instead of surfaces.

A model that predicts normals itself knows better than the slopes of its depth, refined or not (``benchmarks/normals.py``): then a
cell's slopes are those of its normal, the cells are as fine as its grid, and a pixel takes the nearest plane however far it is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.pointcloud import normals_cpu
from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes
from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.upsampling.interpolation import cell_index, row_and_column

CELLS = 320  # along the frame's long side
REACH, STEP = 8, 2  # of the window, in cells: every second cell up to the eighth
STRAIGHT = 0.01  # share of inverse depth that a pixel of the same surface may be off the level, or off a straight line
CONDITION = 0.01  # least determinant of the fit, as a share of that of pixels all around
ON_PLANE, NEAR_PLANE = 0.02, 0.10  # share of inverse depth: a pixel on a cell's plane, and one that may belong to it if to any
GRAZING = 0.02  # least cosine to the ray of a predicted normal


class CellPlanes(NamedTuple):
    """Planes in inverse depth at the cells' centers, all ``float32 [h, w]``; NaN where there is none.

    value: inverse depth; across, down: its slopes by a pixel.
    """

    value: Tensor
    across: Tensor
    down: Tensor


def surface_normals(result: DepthFrame, rays: RaySlopes | None = None) -> Tensor:
    """The normals of a frame's surfaces, ``float32 [3, H, W]`` on its device: unit vectors of the optical frame (x right, y down, z
    forward) that face the camera; NaN where depth is unknown and in the sky. At pixels of which the refiner gave a normal, it is
    that one. Scale does not matter. rays: those of a stream's camera, which lie on the device already. Raises ValueError without a
    camera."""
    if result.camera is None:
        raise ValueError("normals take the frame's intrinsics: give it a camera")
    coarse = (result.coarse.shape[0], result.coarse.shape[1])
    normals = normals_of(surface_depth(result), result.camera, result.normals, coarse, rays)
    if result.refined_normals is not None:
        overlay(normals, result.refined_normals, result.selection.indices)
    return normals


def overlay(normals: Tensor, refined: Tensor, pixels: Tensor) -> None:
    """Puts ``refined [3, K]`` in place of the normals ``[3, H, W]`` at the flat ``pixels int64 [K]``, but where either is unknown:
    NaN in the former, 0 in the latter. The normals may lie in memory in any order; nothing waits for a device."""
    y, x = row_and_column(pixels, normals.shape[2])
    before = normals[:, y, x]
    taken = (refined != 0).any(0) & ~before[0].isnan()
    normals[:, y, x] = torch.where(taken, refined.to(normals.dtype), before)


def normals_of(
    depth: Tensor,
    camera: Camera,
    predicted: Tensor | None = None,
    upsampled_from: tuple[int, int] | None = None,
    rays: RaySlopes | None = None,
) -> Tensor:
    """Normals ``float32 [3, H, W]`` of depth ``float32 [H, W]``; predicted: ``float32 [3, h, w]``, the model's own; rays: see
    ``surface_normals``.

    upsampled_from: the grid (h, w) of the coarse map that the depth was made from. Beyond the centers of that grid's outermost
    pixels depth is held, not continued: no slope is taken there, and the planes are those further inside.
    """
    if predicted is None:
        stride, near = cell_stride(*depth.shape), NEAR_PLANE
        planes = fit_planes(depth, stride, upsampled_from)
    else:
        stride, near = max(1, round(depth.shape[1] / predicted.shape[2])), float("inf")
        planes = predicted_planes(depth, predicted, camera, stride, rays)
    if has_kernels(depth.device):
        from depth_retrofit_ros.pointcloud import normals_triton

        slopes = (rays or RaySlopes(depth.device))(camera)
        normals = normals_triton.take(depth, planes, slopes, (camera.fx, camera.fy), stride, (ON_PLANE, near))
        return normals.permute(2, 0, 1)
    if depth.device.type == "cpu":
        return normals_cpu.take_normals(depth, planes, camera, stride, (ON_PLANE, near))
    return normals_by_torch(depth, planes, camera, stride, near)


def cell_stride(height: int, width: int) -> int:
    """Pixels between the cells' centers."""
    return max(1, round(max(height, width) / CELLS))


def fit_planes(depth: Tensor, stride: int, upsampled_from: tuple[int, int] | None = None) -> CellPlanes:
    """Planes at the pixels ``stride // 2 + i · stride`` of depth ``[H, W]``; upsampled_from: see ``normals_of``."""
    cells = _inverse(depth[stride // 2 :: stride, stride // 2 :: stride])
    if upsampled_from is None:
        return _fit(cells, stride)
    rows, columns = (
        _sloping(side, low, cell_count, stride)
        for side, low, cell_count in zip(depth.shape, upsampled_from, cells.shape, strict=True)
    )
    inner = _with_edge_slopes(_fit(cells[rows, columns].contiguous(), stride), stride)
    down, right = (
        torch.arange(count, device=depth.device) - part.start for count, part in zip(cells.shape, (rows, columns), strict=True)
    )
    i, j = down.clamp(0, inner.value.shape[0] - 1), right.clamp(0, inner.value.shape[1] - 1)
    value, across, below = (part[i][:, j] for part in inner)
    # The outermost planes go on to the border.
    gone_on = value + across * ((right - j) * stride) + below * ((down - i) * stride)[:, None]
    inside = (down == i)[:, None] & (right == j)
    return CellPlanes(torch.where(inside, cells, gone_on), across, below)


def _with_edge_slopes(planes: CellPlanes, stride: int) -> CellPlanes:
    """Where the outermost cells see too little on one side for a fit, the slopes to their neighbours on the same thing."""
    edge = torch.ones_like(planes.value, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    across, down = local_slopes(planes.value)
    near = (across.abs() <= NEAR_PLANE * planes.value) & (down.abs() <= NEAR_PLANE * planes.value)
    taken = edge & near & planes.across.isnan()
    return CellPlanes(
        planes.value, *(torch.where(taken, own / stride, fit) for own, fit in zip((across, down), planes[1:], strict=True))
    )


def _sloping(side: int, low: int, cells: int, stride: int) -> slice:
    """The cells along a side of the frame that lie where depth upsampled from ``low`` pixels has slopes; all where none do."""
    held = max(0, math.ceil(side / (2 * low) - 0.5))  # pixels before the first coarse center, and as many after the last
    first = max(0, -(-(held - stride // 2) // stride))
    last = min(cells - 1, (side - 1 - held - stride // 2) // stride)
    return slice(first, last + 1) if last > first else slice(0, cells)


def _fit(cells: Tensor, stride: int) -> CellPlanes:
    if has_kernels(cells.device):
        from depth_retrofit_ros.pointcloud import normals_triton

        return CellPlanes(cells, *normals_triton.fit(cells, (REACH, STEP), STRAIGHT, CONDITION, stride))
    if cells.device.type == "cpu":
        return CellPlanes(cells, *normals_cpu.fit_planes(cells, (REACH, STEP), STRAIGHT, CONDITION, stride))
    return fit_by_torch(cells, stride)


def fit_by_torch(cells: Tensor, stride: int) -> CellPlanes:
    """The plain specification of the compiled fits, and what runs on CUDA without Triton; cells: inverse depth ``[h, w]``, NaN
    where it is unknown."""
    side = 2 * REACH + 1
    padded = F.pad(cells, (REACH, REACH, REACH, REACH), value=torch.nan)
    around = padded.unfold(0, side, 1).unfold(1, side, 1)[..., ::STEP, ::STEP].flatten(2)
    ahead = around - cells[..., None]
    limit = STRAIGHT * cells[..., None]
    counts = ((ahead.abs() <= limit) | ((ahead + ahead.flip(2)).abs() <= limit)).float()
    ahead = torch.where(counts > 0, ahead, 0.0)
    steps = torch.arange(-REACH, REACH + 1, STEP, device=cells.device, dtype=torch.float32)
    y, x = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    xx, xy, yy = ((counts * product).sum(2) for product in (x * x, x * y, y * y))
    xe, ye = (ahead * x).sum(2), (ahead * y).sum(2)
    determinant = xx * yy - xy * xy
    fitting = (determinant > CONDITION * xx * yy) & (xx * yy > 0)
    across, down = (yy * xe - xy * ye) / determinant, (xx * ye - xy * xe) / determinant
    across, down = (torch.where(fitting, slope / stride, torch.nan) for slope in (across, down))
    return CellPlanes(cells, across, down)


def predicted_planes(depth: Tensor, predicted: Tensor, camera: Camera, stride: int, rays: RaySlopes | None = None) -> CellPlanes:
    """Planes with the predicted normals through the depth ``[H, W]`` at the cells; see ``normals_of``."""
    start = stride // 2
    value = _inverse(depth[start::stride, start::stride])
    x, y = (slopes[start::stride] for slopes in (rays or RaySlopes(depth.device))(camera))
    rows, columns = (
        cell_index(torch.arange(start, high, stride, device=depth.device), low, high)
        for low, high in zip(predicted.shape[1:], depth.shape, strict=True)
    )
    normals = predicted[:, rows][:, :, columns]  # of the cell that the pixel lies in: nothing is mixed across an edge
    facing = (normals[0] * x + normals[1] * y[:, None] + normals[2]).clamp_max(-GRAZING)
    scale = value / facing
    return CellPlanes(value, scale * normals[0] / camera.fx, scale * normals[1] / camera.fy)


def normals_by_torch(depth: Tensor, planes: CellPlanes, camera: Camera, stride: int, near: float) -> Tensor:
    """The plain specification of the compiled passes over the pixels, and what runs on CUDA without Triton."""
    inverse = _inverse(depth)
    rows, columns = (_neighbors(side, low, stride, depth.device) for side, low in zip(depth.shape, planes.value.shape, strict=True))
    total, across, down = (torch.zeros_like(inverse) for _ in range(3))
    best, best_across, best_down = torch.full_like(inverse, torch.inf), torch.zeros_like(inverse), torch.zeros_like(inverse)
    for row, row_weight, dy in rows:
        for column, column_weight, dx in columns:
            value, right, below = (part[row][:, column] for part in planes)
            there = value + right * dx + below * dy[:, None]
            off = ((there - inverse) / inverse).abs()
            off = torch.where(off.isnan(), torch.inf, off)
            weight = torch.where(off <= ON_PLANE, row_weight[:, None] * column_weight, 0.0)
            right, below = (torch.where(off.isfinite(), slope, 0.0) for slope in (right, below))
            total, across, down = total + weight, across + weight * right, down + weight * below
            nearer = (off < best) & (there > 0)
            best, share = torch.where(nearer, off, best), inverse / there  # parallel to that plane, through the pixel
            best_across = torch.where(nearer, right * share, best_across)
            best_down = torch.where(nearer, below * share, best_down)
    alone = total <= 0
    local_across, local_down = local_slopes(inverse)
    parallel = (best <= near) & best.isfinite()
    across = torch.where(alone, torch.where(parallel, best_across, local_across), across / total)
    down = torch.where(alone, torch.where(parallel, best_down, local_down), down / total)
    x, y = RaySlopes(depth.device)(camera)
    across, down = across * camera.fx, down * camera.fy
    normals = torch.stack((across, down, inverse - across * x - down * y[:, None]))
    return -normals / normals.norm(dim=0)


def _inverse(depth: Tensor) -> Tensor:
    """NaN where depth is unknown."""
    return torch.where((depth > 0) & depth.isfinite(), depth, torch.nan).reciprocal()


def _neighbors(side: int, low: int, stride: int, device: torch.device) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each of the two cells around every pixel of a side: its index, its weight, and the pixels from its center."""
    pixels = torch.arange(side, device=device)
    first = torch.div(pixels - stride // 2, stride, rounding_mode="floor").clamp(0, max(0, low - 2))
    second = (first + 1).clamp_max(low - 1)
    share = ((pixels - stride // 2 - first * stride) / stride).clamp(0.0, 1.0)
    cells = ((first, 1 - share), (second, share))
    return [(cell, weight, (pixels - stride // 2 - cell * stride).float()) for cell, weight in cells]


def local_slopes(inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Along each axis the difference to that neighbour which is nearer in inverse depth; 0 beside nothing known."""
    slopes = []
    for axis in (1, 0):
        step = inverse.diff(dim=axis)
        unknown = torch.full_like(inverse.narrow(axis, 0, 1), torch.inf)
        step = torch.where(step.isnan(), torch.inf, step)
        ahead, behind = torch.cat((step, unknown), axis), torch.cat((unknown, step), axis)
        slope = torch.where(ahead.abs() <= behind.abs(), ahead, behind)
        slopes.append(torch.where(slope.isfinite(), slope, 0.0))
    return slopes[0], slopes[1]


def compile_normals() -> None:
    """Compile the CPU's kernels now (6 s on the first run, then cached on disk) instead of with the first frame."""
    normals_of(torch.ones(8, 8), Camera(8, 8, 8.0, 8.0, 3.5, 3.5))
