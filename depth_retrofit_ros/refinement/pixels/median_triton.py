"""``median.color_median_by_torch`` in one kernel, for CUDA: a window's depths and weights stay in registers over all bisections."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch
from depth_retrofit_ros.upsampling.edge_aware_triton import finite
from depth_retrofit_ros.upsampling.interpolation_triton import nearest_cell

BLOCK = 128  # pixels of a program, as many as threads: each sees its own window, and what is beyond it costs nothing
ONE = tl.constexpr(0x3F800000)  # the bits of 1.0


@triton.jit
def median_kernel(
    depth: tl.tensor,  # float32 [height, width]
    image: tl.tensor,  # uint8 [height, width, 3]
    indices: tl.tensor,  # int64 [count]
    out: tl.tensor,  # float32 [count]
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    REACH: tl.constexpr,
    FARTHEST: tl.constexpr,  # the square of the farthest colour
    PER_UNIT: tl.constexpr,
    HALVINGS: tl.constexpr,
    WINDOW: tl.constexpr,  # a power of two, at least (2 · REACH + 1)²
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    index = tl.load(indices + pixel, there, 0).to(tl.int32)
    y, x = (index // width)[None, :], (index % width)[None, :]
    side: tl.constexpr = 2 * REACH + 1
    k = tl.arange(0, WINDOW)[:, None]
    near_y, near_x = y + k // side - REACH, x + k % side - REACH
    inside = (k < side * side) & (near_y >= 0) & (near_y < height) & (near_x >= 0) & (near_x < width)
    neighbor = nearest_cell(near_y, near_x, height, width)
    value = tl.load(depth + neighbor)

    color, own_color = image + 3 * neighbor.to(tl.int64), image + 3 * index.to(tl.int64)
    red = (tl.load(color).to(tl.int32) - tl.load(own_color).to(tl.int32)[None, :]).to(tl.float32)
    green = (tl.load(color + 1).to(tl.int32) - tl.load(own_color + 1).to(tl.int32)[None, :]).to(tl.float32)
    blue = (tl.load(color + 2).to(tl.int32) - tl.load(own_color + 2).to(tl.int32)[None, :]).to(tl.float32)
    like = tl.maximum(FARTHEST - (red * red + green * green + blue * blue), 0.0)
    weight = tl.where(inside & finite(value), tl.floor(like * like * PER_UNIT), 0.0)

    seen = weight > 0
    least = tl.min(tl.where(seen, value, float("inf")), 0)
    high = tl.div_rn(tl.max(tl.where(seen, value, 0.0), 0), least).to(tl.int32, bitcast=True)
    low = tl.full((BLOCK,), ONE - 1, tl.int32)
    half = tl.sum(weight, 0) * 0.5
    for _ in range(HALVINGS):
        middle = low + ((high - low) >> 1)
        bound = least * middle.to(tl.float32, bitcast=True)
        enough = tl.sum(tl.where(value <= bound[None, :], weight, 0.0), 0) >= half
        low, high = tl.where(enough, low, middle), tl.where(enough, middle, high)
    bound = least * low.to(tl.float32, bitcast=True)
    median = tl.min(tl.where(seen & (value > bound[None, :]), value, float("inf")), 0)
    own = tl.load(depth + index)
    tl.store(out + pixel, tl.where(finite(own), median, own), there)


def color_median(
    depth: torch.Tensor,
    image: torch.Tensor,
    indices: torch.Tensor,
    reach: int,
    farthest_color: float,
    unit: float,
    halvings: int,
) -> torch.Tensor:
    """``float32 [K]`` at ``indices int64 [K]`` of ``depth float32 [H, W]``, by the frame ``uint8 [H, W, 3]``; the rest are the
    constants of ``median``."""
    out = depth.new_empty(indices.numel())
    if indices.numel() == 0:
        return out
    launch(
        median_kernel,
        (triton.cdiv(indices.numel(), BLOCK),),
        depth.contiguous(),
        image.contiguous(),
        indices,
        out,
        indices.numel(),
        *depth.shape,
        REACH=reach,
        FARTHEST=farthest_color**2,
        PER_UNIT=1 / unit,
        HALVINGS=halvings,
        WINDOW=triton.next_power_of_2((2 * reach + 1) ** 2),
        BLOCK=BLOCK,
    )
    return out
