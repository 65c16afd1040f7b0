"""``features.features_by_torch`` in one kernel, for CUDA: every pixel's features are written once, into one row."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch
from depth_retrofit_ros.upsampling.interpolation_triton import between, nearest_cell

BLOCK = 128  # pixels of a program
_ALL: tl.constexpr = tl.constexpr(tl.PropagateNan.ALL)


@triton.jit
def within(value: tl.tensor, low: tl.constexpr, high: tl.constexpr) -> tl.tensor:
    """``clamp`` as torch has it: NaN stays NaN."""
    return tl.minimum(tl.maximum(value, low, propagate_nan=_ALL), high, propagate_nan=_ALL)


@triton.jit
def assemble(
    image: tl.tensor,  # uint8 [height · width, 3]
    depth: tl.tensor,  # float32 [height · width], the upsampled coarse depth
    indices: tl.tensor,  # int64 [count]
    values: tl.tensor,  # float32 [low_h, low_w, SURFACES + 2]
    cell_colors: tl.tensor,  # float32 [low_h, low_w, 3], normalised
    mixtures: tl.tensor,  # float32 [low_h, low_w, 8 · WINDOWS + 9]
    log_median: tl.tensor,  # float32 [1]
    out: tl.tensor,  # [count, COLUMNS], any real type
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    low_h: tl.tensor,
    low_w: tl.tensor,
    cell_size: tl.tensor,
    OFFSETS: tl.constexpr,  # dy, dx of each candidate that a cell shows, one after the other
    SURFACES: tl.constexpr,
    WINDOWS: tl.constexpr,
    LEAST_SHARE: tl.constexpr,
    LEAST_OWN_COLOR: tl.constexpr,
    FARTHEST: tl.constexpr,
    CANDIDATES: tl.constexpr,  # first columns of the parts of a row
    DISTANCES: tl.constexpr,
    ENTROPY: tl.constexpr,
    LEVEL: tl.constexpr,
    GRID: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    index = tl.load(indices + pixel, there, 0).to(tl.int32)
    y, x = index // width, index % width
    row = out + pixel.to(tl.int64) * COLUMNS

    red = (tl.load(image + 3 * index.to(tl.int64)).to(tl.float32) - 127.5) / 64.0
    green = (tl.load(image + 3 * index.to(tl.int64) + 1).to(tl.float32) - 127.5) / 64.0
    blue = (tl.load(image + 3 * index.to(tl.int64) + 2).to(tl.float32) - 127.5) / 64.0
    tl.store(row, red, there)
    tl.store(row + 1, green, there)
    tl.store(row + 2, blue, there)

    # Between four cells, as ``interpolation.sample_at``.
    top, bottom, left, right, down, across = between(y, x, low_h, low_w, height, width)
    a, b = (1.0 - down) * (1.0 - across), (1.0 - down) * across
    c, d = down * (1.0 - across), down * across
    upper_left = values + (top * low_w + left) * (SURFACES + 2)
    upper_right = values + (top * low_w + right) * (SURFACES + 2)
    lower_left = values + (bottom * low_w + left) * (SURFACES + 2)
    lower_right = values + (bottom * low_w + right) * (SURFACES + 2)
    log_depth = tl.log(tl.load(depth + index))

    k: tl.constexpr = SURFACES
    score = a * tl.load(upper_left + k) + b * tl.load(upper_right + k) + c * tl.load(lower_left + k) + d * tl.load(lower_right + k)
    tl.store(row + ENTROPY, within(score, -3.0, 6.0), there)
    n: tl.constexpr = SURFACES + 1
    level = a * tl.load(upper_left + n) + b * tl.load(upper_right + n) + c * tl.load(lower_left + n) + d * tl.load(lower_right + n)
    shift = level - log_depth
    tl.store(row + LEVEL, log_depth - tl.load(log_median), there)

    cell_y, cell_x = (2 * y + 1) * low_h // (2 * height), (2 * x + 1) * low_w // (2 * width)
    for i in tl.static_range(SURFACES):
        value = a * tl.load(upper_left + i) + b * tl.load(upper_right + i)
        value += c * tl.load(lower_left + i) + d * tl.load(lower_right + i) + shift
        if i == 0:
            value = tl.zeros_like(value)
        tl.store(row + CANDIDATES + i, value, there)
        color = cell_colors + 3 * nearest_cell(cell_y + OFFSETS[2 * i], cell_x + OFFSETS[2 * i + 1], low_h, low_w)
        off = tl.abs(tl.load(color) - red) + tl.abs(tl.load(color + 1) - green) + tl.abs(tl.load(color + 2) - blue)
        tl.store(row + DISTANCES + i, off * (1.0 / 3.0), there)

    cell = mixtures + (cell_y * low_w + cell_x) * (8 * WINDOWS + 9)
    for i in tl.static_range(WINDOWS):
        part = cell + 8 * i
        own_r, own_g, own_b = red - tl.load(part + 1), green - tl.load(part + 2), blue - tl.load(part + 3)
        other_r, other_g, other_b = tl.load(part + 5), tl.load(part + 6), tl.load(part + 7)
        along = own_r * other_r + own_g * other_g + own_b * other_b
        share = along / tl.maximum(own_r * own_r + own_g * own_g + own_b * own_b, LEAST_OWN_COLOR)
        share = within(share, LEAST_SHARE, 1.0)
        ratio = -tl.log(tl.load(part) + tl.load(part + 4) / share) - log_depth
        tl.store(row + CANDIDATES + SURFACES + i, within(ratio, -FARTHEST, FARTHEST), there)
        off = tl.abs(other_r - share * own_r) + tl.abs(other_g - share * own_g) + tl.abs(other_b - share * own_b)
        tl.store(row + DISTANCES + SURFACES + i, off * (1.0 / 3.0), there)
    rest = cell + 8 * WINDOWS
    near = within(tl.load(rest) - log_depth, -FARTHEST, FARTHEST)
    overshot = within(tl.load(rest + 8) - log_depth, -FARTHEST, FARTHEST)
    far = within(tl.load(rest + 4) - log_depth, -FARTHEST, FARTHEST)
    to_near = tl.abs(tl.load(rest + 1) - red) + tl.abs(tl.load(rest + 2) - green) + tl.abs(tl.load(rest + 3) - blue)
    to_far = tl.abs(tl.load(rest + 5) - red) + tl.abs(tl.load(rest + 6) - green) + tl.abs(tl.load(rest + 7) - blue)
    last = row + CANDIDATES + SURFACES + WINDOWS
    tl.store(last, near, there)
    tl.store(last + 1, overshot, there)
    tl.store(last + 2, far, there)
    last = row + DISTANCES + SURFACES + WINDOWS
    tl.store(last, to_near * (1.0 / 3.0), there)
    tl.store(last + 1, to_near * (1.0 / 3.0), there)
    tl.store(last + 2, to_far * (1.0 / 3.0), there)

    part_y, part_x = (2 * y + 1) * low_h % (2 * height), (2 * x + 1) * low_w % (2 * width)
    tl.store(row + GRID, part_y.to(tl.float32) / height - 1.0, there)
    tl.store(row + GRID + 1, part_x.to(tl.float32) / width - 1.0, there)
    tl.store(row + GRID + 2, tl.zeros_like(log_depth) + cell_size, there)


def assemble_rows(
    image: torch.Tensor,
    depth: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    colors: torch.Tensor,
    mixtures: torch.Tensor,
    log_median: torch.Tensor,
    *,
    offsets: tuple[int, ...],
    mixture: tuple[int, float, float],
    farthest: float,
    starts: tuple[int, ...],
    cell_level: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """``PixelFeatures.rows`` at ``indices int64 [K]``.

    image ``uint8 [H, W, 3]``; depth ``float32 [H, W]``, the upsampled coarse depth; values, colors, mixtures: of the coarse grid,
    see ``maps_triton``; log_median ``[]``; offsets: dy, dx of every candidate that a cell shows; mixture: ``MIXTURE_LAYOUT``;
    starts: the columns at which the parts of a row begin, colours at 0; cell_level: see ``features.CELL_LEVEL``;
    dtype: of the rows.
    """
    (height, width), (low_h, low_w) = depth.shape, values.shape[:2]
    surfaces, windows = len(offsets) // 2, mixture[0]
    candidates, distances, entropy, level, grid = starts
    columns = grid + 3
    out = depth.new_empty(indices.numel(), columns, dtype=dtype)
    if indices.numel() == 0:
        return out
    tensors = image.contiguous(), depth.contiguous(), indices, values, colors.contiguous(), mixtures, log_median, out
    sizes = indices.numel(), height, width, low_h, low_w, math.log(height / low_h) - cell_level
    launch(
        assemble,
        (triton.cdiv(indices.numel(), BLOCK),),
        *tensors,
        *sizes,
        OFFSETS=offsets,
        SURFACES=surfaces,
        WINDOWS=windows,
        LEAST_SHARE=mixture[1],
        LEAST_OWN_COLOR=mixture[2],
        FARTHEST=farthest,
        CANDIDATES=candidates,
        DISTANCES=distances,
        ENTROPY=entropy,
        LEVEL=level,
        GRID=grid,
        COLUMNS=columns,
        BLOCK=BLOCK,
    )
    return out
