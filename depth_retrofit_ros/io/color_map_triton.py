"""``color_map.colorize`` and ``color_map.colorize_normals`` on a CUDA device."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch

BLOCK = 1024  # pixels of a program


@triton.jit
def sample_kernel(
    depth: tl.tensor,  # float32 [height, width]
    out: tl.tensor,  # float32 [count]
    count: tl.tensor,
    columns: tl.tensor,
    width: tl.tensor,
    step: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Every ``step``-th pixel in both directions, infinite where it is unknown."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    z = tl.load(depth + place // columns * step * width + place % columns * step, there, 0.0)
    tl.store(out + place, tl.where(z > 0.0, z, float("inf")), there)


@triton.jit
def percentile(rising: tl.tensor, last: tl.tensor, share: tl.tensor) -> tl.tensor:
    """Of the values 0 … ``last``, interpolated as ``numpy.percentile`` does."""
    place = share * last.to(tl.float64)
    before = tl.minimum(tl.maximum(place.to(tl.int32), 0), tl.maximum(last, 0))
    after = tl.minimum(before + 1, tl.maximum(last, 0))
    lower, upper = tl.load(rising + before).to(tl.float64), tl.load(rising + after).to(tl.float64)
    return lower + (place - before.to(tl.float64)) * (upper - lower)


@triton.jit
def range_kernel(
    rising: tl.tensor,  # float32 [count], the unknown ones, infinite, last
    out: tl.tensor,  # float32 [3]: inverse depth of the coldest colour, levels a unit of inverse depth, known samples
    count: tl.tensor,
    NEAR: tl.constexpr,  # share of the samples that is nearer than the warmest colour
    FAR: tl.constexpr,
    LEVELS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One program."""
    number = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        number += (tl.load(rising + place, place < count, float("inf")) < float("inf")).to(tl.int32)
    known = tl.sum(number, 0)
    cold = 1.0 / percentile(rising, known - 1, FAR)
    warm = 1.0 / percentile(rising, known - 1, NEAR)
    levels = LEVELS / tl.maximum(warm - cold, 1e-9 * warm)
    tl.store(out, tl.where(known > 0, cold, 0.0).to(tl.float32))
    tl.store(out + 1, tl.where(known > 0, levels, 0.0).to(tl.float32))
    tl.store(out + 2, known.to(tl.float32))


@triton.jit
def color_kernel(
    depth: tl.tensor,  # float32 [count]
    scale: tl.tensor,  # float32 [3], of ``range_kernel``
    palette: tl.tensor,  # uint8 [256, 3]
    out: tl.tensor,  # uint8 [count, 3]
    count: tl.tensor,
    UNKNOWN: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    z = tl.load(depth + pixel, there, 0.0)
    known = (z > 0.0) & (z < float("inf"))
    level = (1.0 / tl.where(known, z, 1.0) - tl.load(scale)) * tl.load(scale + 1)
    level = tl.minimum(tl.maximum(level, 0.0), UNKNOWN - 1.0).to(tl.int32)
    level = tl.where(known, tl.minimum(tl.maximum(level, 0), UNKNOWN - 1), UNKNOWN)  # once more: NaN is no place in the palette
    for channel in tl.static_range(3):
        tl.store(out + 3 * pixel + channel, tl.load(palette + 3 * level + channel, there, 0), there)


@triton.jit
def normals_kernel(
    normals: tl.tensor,  # float32 [count, 3]
    unknown: tl.tensor,  # uint8 [3], the colour of what has none
    out: tl.tensor,  # uint8 [count, 3]
    count: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < count
    first = tl.load(normals + 3 * pixel, there, 0.0)
    for channel in tl.static_range(3):
        value = tl.load(normals + 3 * pixel + channel, there, 0.0)
        value = value * 127.5 + 128.0 if channel == 0 else value * -127.5 + 128.0
        level = tl.where(first == first, value, 0.0).to(tl.int32)
        color = tl.where(first == first, level, tl.load(unknown + channel).to(tl.int32))
        tl.store(out + 3 * pixel + channel, color.to(tl.uint8), there)


def colorize(
    depth: torch.Tensor, palette: torch.Tensor, step: int, shares: tuple[float, float], unknown: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth ``float32 [H, W]`` → RGB ``uint8 [H, W, 3]``, and ``float32 [3]`` whose last is how many of the samples are known:
    where none is, the picture is arbitrary.

    palette: ``uint8 [256, 3]``; step: between the samples [px]; shares: of the samples nearer than the warmest and the coldest
    colour; unknown: the palette's entry for that, the entries before it carry colour.
    """
    depth = depth.contiguous()
    rows, columns = (-(-side // step) for side in depth.shape)
    sample, scale = depth.new_empty(rows * columns), depth.new_empty(3)
    sizes = rows * columns, columns, depth.shape[1], step
    launch(sample_kernel, (triton.cdiv(sizes[0], BLOCK),), depth, sample, *sizes, BLOCK=BLOCK)
    rising = sample.sort().values
    near, far = shares
    launch(range_kernel, (1,), rising, scale, sizes[0], NEAR=near, FAR=far, LEVELS=unknown - 1, BLOCK=BLOCK)
    out = torch.empty((*depth.shape, 3), dtype=torch.uint8, device=depth.device)
    programs = (triton.cdiv(depth.numel(), BLOCK),)
    launch(color_kernel, programs, depth, scale, palette, out, depth.numel(), UNKNOWN=unknown, BLOCK=BLOCK)
    return out, scale


def colorize_normals(normals: torch.Tensor, unknown: torch.Tensor) -> torch.Tensor:
    """Unit normals ``float32 [H, W, 3]`` → RGB ``uint8 [H, W, 3]``; unknown: ``uint8 [3]``, the colour of what has none."""
    out = torch.empty(normals.shape, dtype=torch.uint8, device=normals.device)
    count = normals.numel() // 3
    launch(normals_kernel, (triton.cdiv(count, BLOCK),), normals.contiguous(), unknown, out, count, BLOCK=BLOCK)
    return out
