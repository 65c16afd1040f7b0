"""``normals.fit_by_torch`` and ``normals.normals_by_torch`` in one kernel each, for CUDA."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch

CELLS, PIXELS = 128, 256  # of a program


@triton.jit
def fit_kernel(
    cells: tl.tensor,  # float32 [h, w], inverse depth, NaN where unknown
    out: tl.tensor,  # float32 [2, h, w]: slopes across and down, NaN where there is no plane
    h: tl.tensor,
    w: tl.tensor,
    stride: tl.tensor,
    REACH: tl.constexpr,
    STEP: tl.constexpr,
    STRAIGHT: tl.constexpr,
    CONDITION: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = cell < h * w
    row, column = cell // w, cell % w
    here = tl.load(cells + cell, there, 0.0)
    limit = STRAIGHT * here
    xx, xy, yy = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    xe, ye = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for j in range(0, 2 * REACH + 1, STEP):
        for i in range(0, 2 * REACH + 1, STEP):
            dy, dx = j - REACH, i - REACH
            y, x = row + dy, column + dx
            opposite_y, opposite_x = row - dy, column - dx
            inside = there & (y >= 0) & (y < h) & (x >= 0) & (x < w)
            opposite = there & (opposite_y >= 0) & (opposite_y < h) & (opposite_x >= 0) & (opposite_x < w)
            ahead = tl.load(cells + y * w + x, inside, float("nan")) - here
            behind = tl.load(cells + opposite_y * w + opposite_x, opposite, float("nan")) - here
            counts = ((tl.abs(ahead) <= limit) | (tl.abs(ahead + behind) <= limit)).to(tl.float32)
            ahead = tl.where(counts > 0, ahead, 0.0)
            xx += counts * (dx * dx)
            xy += counts * (dx * dy)
            yy += counts * (dy * dy)
            xe += ahead * dx
            ye += ahead * dy
    determinant = xx * yy - xy * xy
    fitting = (determinant > CONDITION * xx * yy) & (xx * yy > 0)
    scale = 1.0 / (tl.where(fitting, determinant, 1.0) * stride)
    tl.store(out + cell, tl.where(fitting, (yy * xe - xy * ye) * scale, float("nan")), there)
    tl.store(out + h * w + cell, tl.where(fitting, (xx * ye - xy * xe) * scale, float("nan")), there)


@triton.jit
def inverse_at(depth: tl.tensor, pixel: tl.tensor, there: tl.tensor) -> tl.tensor:
    """Inverse depth, NaN where it is unknown, and beyond the frame."""
    z = tl.load(depth + pixel, there, 0.0)
    known = (z > 0.0) & (z < float("inf"))
    return tl.where(known, 1.0 / tl.where(known, z, 1.0), float("nan"))


@triton.jit
def smaller(inverse: tl.tensor, before: tl.tensor, after: tl.tensor) -> tl.tensor:
    """The slope to that of two neighbours which is nearer in inverse depth; 0 where neither is known."""
    behind, ahead = inverse - before, after - inverse
    behind = tl.where(behind == behind, behind, float("inf"))
    ahead = tl.where(ahead == ahead, ahead, float("inf"))
    slope = tl.where(tl.abs(ahead) <= tl.abs(behind), ahead, behind)
    return tl.where(tl.abs(slope) < float("inf"), slope, 0.0)


@triton.jit
def take_kernel(
    depth: tl.tensor,  # float32 [height, width]
    value: tl.tensor,  # float32 [h, w], of the cells' planes
    right: tl.tensor,  # float32 [h, w], slopes across and down
    below: tl.tensor,
    x_slope: tl.tensor,  # float32 [width], the camera's rays
    y_slope: tl.tensor,  # float32 [height]
    out: tl.tensor,  # float32 [height, width, 3]
    height: tl.tensor,
    width: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    stride: tl.tensor,
    fx: tl.tensor,
    fy: tl.tensor,
    near: tl.tensor,
    ON_PLANE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < height * width
    y, x = pixel // width, pixel % width
    inverse = inverse_at(depth, pixel, there)
    start = stride // 2
    first_y = tl.minimum(tl.maximum((y - start) // stride, 0), tl.maximum(h - 2, 0))
    first_x = tl.minimum(tl.maximum((x - start) // stride, 0), tl.maximum(w - 2, 0))
    share_y = tl.minimum(tl.maximum((y - start - first_y * stride).to(tl.float32) / stride, 0.0), 1.0)
    share_x = tl.minimum(tl.maximum((x - start - first_x * stride).to(tl.float32) / stride, 0.0), 1.0)
    total, across, down = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    best = tl.full((BLOCK,), float("inf"), tl.float32)
    best_across, best_down = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for j in tl.static_range(2):
        row = tl.minimum(first_y + j, h - 1)
        weight_y = share_y if j == 1 else 1.0 - share_y
        dy = (y - start - row * stride).to(tl.float32)
        for i in tl.static_range(2):
            column = tl.minimum(first_x + i, w - 1)
            cell = row * w + column
            a, b = tl.load(right + cell, there, 0.0), tl.load(below + cell, there, 0.0)
            plane = tl.load(value + cell, there, 0.0) + a * (x - start - column * stride).to(tl.float32) + b * dy
            off = tl.abs((plane - inverse) / inverse)
            off = tl.where(off == off, off, float("inf"))
            weight = tl.where(off <= ON_PLANE, weight_y * (share_x if i == 1 else 1.0 - share_x), 0.0)
            a, b = tl.where(off < float("inf"), a, 0.0), tl.where(off < float("inf"), b, 0.0)
            total += weight
            across += weight * a
            down += weight * b
            nearer = (off < best) & (plane > 0.0)
            share = inverse / tl.where(nearer, plane, 1.0)  # parallel to that plane, through the pixel
            best = tl.where(nearer, off, best)
            best_across = tl.where(nearer, a * share, best_across)
            best_down = tl.where(nearer, b * share, best_down)
    alone = total <= 0.0
    parallel = (best <= near) & (best < float("inf"))
    left = inverse_at(depth, pixel - 1, there & (x > 0))
    local_across = smaller(inverse, left, inverse_at(depth, pixel + 1, there & (x < width - 1)))
    above = inverse_at(depth, pixel - width, there & (y > 0))
    local_down = smaller(inverse, above, inverse_at(depth, pixel + width, there & (y < height - 1)))
    mean = 1.0 / tl.where(alone, 1.0, total)
    across = tl.where(alone, tl.where(parallel, best_across, local_across), across * mean)
    down = tl.where(alone, tl.where(parallel, best_down, local_down), down * mean)
    ray_x, ray_y = tl.load(x_slope + x, there, 0.0), tl.load(y_slope + y, there, 0.0)
    across *= fx
    down *= fy
    c = inverse - across * ray_x - down * ray_y
    scale = -1.0 / tl.sqrt(across * across + down * down + c * c)
    tl.store(out + 3 * pixel, across * scale, there)
    tl.store(out + 3 * pixel + 1, down * scale, there)
    tl.store(out + 3 * pixel + 2, c * scale, there)


def fit(
    cells: torch.Tensor, window: tuple[int, int], straight: float, condition: float, stride: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slopes across and down of inverse depth ``float32 [h, w]``. window: reach and step; see ``normals``."""
    h, w = cells.shape
    out = cells.new_empty(2, h, w)
    reach, step = window
    constants = {"REACH": reach, "STEP": step, "STRAIGHT": straight, "CONDITION": condition}
    launch(fit_kernel, (triton.cdiv(h * w, CELLS),), cells.contiguous(), out, h, w, stride, BLOCK=CELLS, **constants)
    across, down = out
    return across, down


def take(
    depth: torch.Tensor,
    planes: Sequence[torch.Tensor],
    slopes: tuple[torch.Tensor, torch.Tensor],
    focal: tuple[float, float],
    stride: int,
    tolerances: tuple[float, float],
) -> torch.Tensor:
    """Normals ``float32 [H, W, 3]`` of depth ``float32 [H, W]``. planes: value, slopes across and down, as in ``CellPlanes``;
    slopes: the camera's ``RaySlopes``; focal: fx, fy [px]."""
    (height, width), (h, w) = depth.shape, planes[0].shape
    out = depth.new_empty(height, width, 3)
    tensors = depth.contiguous(), *(part.contiguous() for part in planes), *slopes, out
    on_plane, near = tolerances
    numbers = height, width, h, w, stride, *focal, near
    launch(take_kernel, (triton.cdiv(height * width, PIXELS),), *tensors, *numbers, ON_PLANE=on_plane, BLOCK=PIXELS)
    return out
