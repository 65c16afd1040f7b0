"""``candidates.candidate_maps`` and ``mixtures.mixture_maps`` in one kernel each, for CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch
from depth_retrofit_ros.upsampling.interpolation_triton import nearest_cell

BLOCK = 128  # cells of a program
_ALL: tl.constexpr = tl.constexpr(tl.PropagateNan.ALL)


@triton.jit
def inverse_at(depth: tl.tensor, y: tl.tensor, x: tl.tensor, h: tl.tensor, w: tl.tensor) -> tl.tensor:
    """Inverse depth there."""
    return 1.0 / tl.load(depth + nearest_cell(y, x, h, w))


@triton.jit
def minmod(forward: tl.tensor, backward: tl.tensor) -> tl.tensor:
    """The smaller difference, zero where the two differ in sign; NaN where one is."""
    smaller = tl.where(tl.abs(forward) < tl.abs(backward), forward, backward)
    same = ((forward > 0) & (backward > 0)) | ((forward < 0) & (backward < 0))
    return tl.where(same, smaller, 0.0)


@triton.jit
def values_kernel(
    depth: tl.tensor,  # float32 [h, w]
    score: tl.tensor,  # float32 [h, w]
    mean: tl.tensor,  # float32 [1], of the score
    deviation: tl.tensor,  # float32 [1]
    out: tl.tensor,  # float32 [h, w, SURFACES + 2]
    h: tl.tensor,
    w: tl.tensor,
    OFFSETS: tl.constexpr,
    SURFACES: tl.constexpr,
    FARTHEST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = cell < h * w
    y, x = cell // w, cell % w
    line = out + cell * (SURFACES + 2)
    center = inverse_at(depth, y, x, h, w)
    zero = tl.zeros_like(center)
    tl.store(line, zero, there)
    for i in tl.static_range(1, SURFACES - 1):
        v, u = y + OFFSETS[2 * i], x + OFFSETS[2 * i + 1]
        value = inverse_at(depth, v, u, h, w)
        slope_y = minmod(inverse_at(depth, v + 1, u, h, w) - value, value - inverse_at(depth, v - 1, u, h, w))
        slope_x = minmod(inverse_at(depth, v, u + 1, h, w) - value, value - inverse_at(depth, v, u - 1, h, w))
        extended = value - OFFSETS[2 * i] * slope_y - OFFSETS[2 * i + 1] * slope_x
        extended = tl.minimum(tl.maximum(extended, 0.5 * value, propagate_nan=_ALL), 2.0 * value, propagate_nan=_ALL)
        ratio = tl.log(center / extended)
        ratio = tl.minimum(tl.maximum(ratio, -FARTHEST, propagate_nan=_ALL), FARTHEST, propagate_nan=_ALL)
        tl.store(line + i, ratio, there)
    tl.store(line + SURFACES - 1, zero, there)
    standard = (tl.load(score + cell, there, 0.0) - tl.load(mean)) / tl.maximum(tl.load(deviation), 1e-6)
    tl.store(line + SURFACES, standard, there)
    tl.store(line + SURFACES + 1, -tl.log(center), there)


@triton.jit
def extreme(
    depth: tl.tensor, y: tl.tensor, x: tl.tensor, h: tl.tensor, w: tl.tensor, sign: tl.constexpr, reach: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """The highest (sign 1) or lowest (sign −1) inverse depth within ``reach`` cells, NaN passed over, and the cell that has it,
    the first in reading order; NaN where all are."""
    best = tl.zeros_like(y).to(tl.float32) - float("inf")
    where = nearest_cell(y - reach, x - reach, h, w)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            value = sign * inverse_at(depth, y + dy, x + dx, h, w)
            better = value > best
            best = tl.where(better, value, best)
            where = tl.where(better, nearest_cell(y + dy, x + dx, h, w), where)
    return tl.where(best == -float("inf"), float("nan"), sign * best), where


@triton.jit
def mixtures_kernel(
    depth: tl.tensor,  # float32 [h, w]
    colors: tl.tensor,  # float32 [h, w, 3]
    out: tl.tensor,  # float32 [h, w, 8 · len(WINDOWS) / 2 + 9]
    h: tl.tensor,
    w: tl.tensor,
    WINDOWS: tl.constexpr,  # side, reach of each, one after the other
    COUNT: tl.constexpr,  # of windows
    REACH: tl.constexpr,
    OVERSHOOT: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = cell < h * w
    y, x = cell // w, cell % w
    line = out + cell * (8 * COUNT + 9)
    for i in tl.static_range(COUNT):
        far, at = extreme(depth, y, x, h, w, -1, WINDOWS[2 * i + 1])
        total = tl.zeros_like(far)
        red, green, blue = total, total, total
        for dy in range(-(WINDOWS[2 * i] // 2), WINDOWS[2 * i] // 2 + 1):
            for dx in range(-(WINDOWS[2 * i] // 2), WINDOWS[2 * i] // 2 + 1):
                total += inverse_at(depth, y + dy, x + dx, h, w)
                color = colors + 3 * nearest_cell(y + dy, x + dx, h, w)
                red += tl.load(color)
                green += tl.load(color + 1)
                blue += tl.load(color + 2)
        share = 1.0 / (WINDOWS[2 * i] * WINDOWS[2 * i])
        back_r, back_g, back_b = tl.load(colors + 3 * at), tl.load(colors + 3 * at + 1), tl.load(colors + 3 * at + 2)
        part = line + 8 * i
        tl.store(part, far, there)
        tl.store(part + 1, back_r, there)
        tl.store(part + 2, back_g, there)
        tl.store(part + 3, back_b, there)
        tl.store(part + 4, total * share - far, there)
        tl.store(part + 5, red * share - back_r, there)
        tl.store(part + 6, green * share - back_g, there)
        tl.store(part + 7, blue * share - back_b, there)
    near, near_at = extreme(depth, y, x, h, w, 1, REACH)
    far, far_at = extreme(depth, y, x, h, w, -1, REACH)
    rest = line + 8 * COUNT
    tl.store(rest, -tl.log(near), there)
    tl.store(rest + 4, -tl.log(far), there)
    tl.store(rest + 8, -tl.log(far + OVERSHOOT * (near - far)), there)
    for c in tl.static_range(3):
        tl.store(rest + 1 + c, tl.load(colors + 3 * near_at + c), there)
        tl.store(rest + 5 + c, tl.load(colors + 3 * far_at + c), there)


def cell_values(
    depth: torch.Tensor,
    score: torch.Tensor,
    mean: torch.Tensor,
    deviation: torch.Tensor,
    offsets: tuple[int, ...],
    farthest: float,
) -> torch.Tensor:
    """``features.cell_values`` of depth and score ``[h, w]``, the latter not yet standardised; mean, deviation: its own, ``[]``.
    offsets: dy, dx of every candidate. Returns ``float32 [h, w, SURFACES + 2]``."""
    h, w = depth.shape
    surfaces = len(offsets) // 2
    out = depth.new_empty(h, w, surfaces + 2)
    tensors = depth.contiguous(), score.contiguous(), mean, deviation, out
    launch(
        values_kernel,
        (triton.cdiv(h * w, BLOCK),),
        *tensors,
        h,
        w,
        OFFSETS=offsets,
        SURFACES=surfaces,
        FARTHEST=farthest,
        BLOCK=BLOCK,
    )
    return out


def mixture_maps(
    depth: torch.Tensor, colors: torch.Tensor, windows: tuple[tuple[int, int], ...], reach: int, overshoot: float
) -> torch.Tensor:
    """``mixtures.mixture_maps`` of depth ``[h, w]`` and colors ``float32 [h, w, 3]``."""
    h, w = depth.shape
    out = depth.new_empty(h, w, 8 * len(windows) + 9)
    flat = tuple(number for window in windows for number in window)
    launch(
        mixtures_kernel,
        (triton.cdiv(h * w, BLOCK),),
        depth.contiguous(),
        colors.contiguous(),
        out,
        h,
        w,
        WINDOWS=flat,
        COUNT=len(windows),
        REACH=reach,
        OVERSHOOT=overshoot,
        BLOCK=BLOCK,
    )
    return out
