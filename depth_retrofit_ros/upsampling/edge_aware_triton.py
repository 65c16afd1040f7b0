"""``edge_aware.guided_maps`` and ``edge_aware.upsample_by_torch`` in four kernels, for CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch
from depth_retrofit_ros.upsampling.interpolation_triton import between, nearest_cell

BLOCK = 256  # pixels or cells of a program
Layout = tuple[int, int, int, int, int, int]
"""The channels of inverse depth, weight, lowest, highest, red (green and blue follow) and offset in ``edge_aware.guided_maps``."""
_ALL: tl.constexpr = tl.constexpr(tl.PropagateNan.ALL)


@triton.jit
def kinks_kernel(depth: tl.tensor, out: tl.tensor, h: tl.tensor, w: tl.tensor, BLOCK: tl.constexpr) -> None:
    """depth, out ``float32 [h, w]``: ``edge_aware._kinks``. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y, x = cell // w, cell % w
    here = 1.0 / tl.load(depth + nearest_cell(y, x, h, w))
    across = 1.0 / tl.load(depth + nearest_cell(y, x - 1, h, w)) - 2.0 * here + 1.0 / tl.load(depth + nearest_cell(y, x + 1, h, w))
    down = 1.0 / tl.load(depth + nearest_cell(y - 1, x, h, w)) - 2.0 * here + 1.0 / tl.load(depth + nearest_cell(y + 1, x, h, w))
    across = tl.where((x == 0) | (x == w - 1), 0.0, across)
    down = tl.where((y == 0) | (y == h - 1), 0.0, down)
    tl.store(out + cell, tl.maximum(tl.abs(across), tl.abs(down), propagate_nan=_ALL) / here, cell < h * w)


@triton.jit
def fits_kernel(
    depth: tl.tensor,  # float32 [h, w]
    small: tl.tensor,  # float32 [h, w, 3]
    out: tl.tensor,  # float64 [h, w, 4]: slopes, offset
    h: tl.tensor,
    w: tl.tensor,
    RIDGE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The affine fit of each cell's own 3×3 window, in double precision, see ``edge_aware._mean_fit``. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y, x = cell // w, cell % w
    n = tl.zeros_like(x).to(tl.float64)
    r, g, b, v, rv, gv, bv = n, n, n, n, n, n, n
    rr, rg, rb, gg, gb, bb = n, n, n, n, n, n
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            inside = (y + dy >= 0) & (y + dy < h) & (x + dx >= 0) & (x + dx < w)
            there = nearest_cell(y + dy, x + dx, h, w)
            red = tl.load(small + 3 * there).to(tl.float64)
            green = tl.load(small + 3 * there + 1).to(tl.float64)
            blue = tl.load(small + 3 * there + 2).to(tl.float64)
            value = tl.log(tl.load(depth + there)).to(tl.float64)
            n += tl.where(inside, 1.0, 0.0)
            r += tl.where(inside, red, 0.0)
            g += tl.where(inside, green, 0.0)
            b += tl.where(inside, blue, 0.0)
            v += tl.where(inside, value, 0.0)
            rv += tl.where(inside, red * value, 0.0)
            gv += tl.where(inside, green * value, 0.0)
            bv += tl.where(inside, blue * value, 0.0)
            rr += tl.where(inside, red * red, 0.0)
            rg += tl.where(inside, red * green, 0.0)
            rb += tl.where(inside, red * blue, 0.0)
            gg += tl.where(inside, green * green, 0.0)
            gb += tl.where(inside, green * blue, 0.0)
            bb += tl.where(inside, blue * blue, 0.0)
    r, g, b, v = r / n, g / n, b / n, v / n
    cr, cg, cb = rv / n - r * v, gv / n - g * v, bv / n - b * v
    rr, rg, rb = rr / n - r * r + RIDGE, rg / n - r * g, rb / n - r * b
    gg, gb, bb = gg / n - g * g + RIDGE, gb / n - g * b, bb / n - b * b + RIDGE
    aa, ab, ac = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    mixed = rb * rg - rr * gb
    determinant = rr * aa + rg * ab + rb * ac
    slope_r = (aa * cr + ab * cg + ac * cb) / determinant
    slope_g = (ab * cr + (rr * bb - rb * rb) * cg + mixed * cb) / determinant
    slope_b = (ac * cr + mixed * cg + (rr * gg - rg * rg) * cb) / determinant
    there = cell < h * w
    tl.store(out + 4 * cell, slope_r, there)
    tl.store(out + 4 * cell + 1, slope_g, there)
    tl.store(out + 4 * cell + 2, slope_b, there)
    tl.store(out + 4 * cell + 3, v - (slope_r * r + slope_g * g + slope_b * b), there)


@triton.jit
def finite(x: tl.tensor) -> tl.tensor:
    """Neither NaN nor infinite."""
    return tl.abs(x) < float("inf")


@triton.jit
def maps_kernel(
    depth: tl.tensor,  # float32 [h, w]
    kinks: tl.tensor,  # float32 [h, w]
    usual: tl.tensor,  # float32 [1]: their median
    fits: tl.tensor,  # float64 [h, w, 4]
    out: tl.tensor,  # float32 [h, w, CHANNELS]
    h: tl.tensor,
    w: tl.tensor,
    STEP: tl.constexpr,
    FULL_STEP: tl.constexpr,
    KINK: tl.constexpr,
    NOISE: tl.constexpr,
    INVERSE: tl.constexpr,
    WEIGHT: tl.constexpr,
    LOWEST: tl.constexpr,
    HIGHEST: tl.constexpr,
    RED: tl.constexpr,
    OFFSET: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """``edge_aware.guided_maps``. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y, x = cell // w, cell % w
    own = tl.load(depth + nearest_cell(y, x, h, w))
    level, inverse = tl.log(own), 1.0 / own
    lowest, highest, kinked = level, level, tl.zeros_like(level) - float("inf")
    broken = level != level
    n = tl.zeros_like(level).to(tl.float64)
    red, green, blue, offset = n, n, n, n
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            inside = (y + dy >= 0) & (y + dy < h) & (x + dx >= 0) & (x + dx < w)
            there = nearest_cell(y + dy, x + dx, h, w)
            log = tl.log(tl.load(depth + there))
            lowest = tl.minimum(lowest, log, propagate_nan=_ALL)
            highest = tl.maximum(highest, log, propagate_nan=_ALL)
            broken = broken | ~finite(log)
            kinked = tl.maximum(kinked, tl.load(kinks + there), propagate_nan=_ALL)
            n += tl.where(inside, 1.0, 0.0)
            red += tl.where(inside, tl.load(fits + 4 * there), 0.0)
            green += tl.where(inside, tl.load(fits + 4 * there + 1), 0.0)
            blue += tl.where(inside, tl.load(fits + 4 * there + 2), 0.0)
            offset += tl.where(inside, tl.load(fits + 4 * there + 3), 0.0)
    least = tl.maximum(NOISE * tl.load(usual), KINK, propagate_nan=_ALL)
    stepped = ((highest - lowest) - STEP) / (FULL_STEP - STEP)
    stepped = tl.minimum(tl.maximum(stepped, 0.0, propagate_nan=_ALL), 1.0, propagate_nan=_ALL)
    sharp = tl.minimum(tl.maximum(kinked / least - 1.0, 0.0, propagate_nan=_ALL), 1.0, propagate_nan=_ALL)
    weight = stepped * sharp
    red, green, blue, offset = (
        (red / n).to(tl.float32),
        (green / n).to(tl.float32),
        (blue / n).to(tl.float32),
        (offset / n).to(tl.float32),
    )
    sound = finite(inverse) & finite(weight) & finite(lowest) & finite(highest)
    sound = sound & finite(red) & finite(green) & finite(blue) & finite(offset)
    stand_in = tl.where(finite(level), level, 0.0)
    line, there = out + CHANNELS * cell, cell < h * w
    tl.store(line + INVERSE, inverse, there)
    tl.store(line + WEIGHT, tl.where(sound & ~broken, weight, 0.0), there)
    tl.store(line + LOWEST, tl.where(sound, lowest, stand_in), there)
    tl.store(line + HIGHEST, tl.where(sound, highest, stand_in), there)
    tl.store(line + RED, tl.where(sound, red, 0.0), there)
    tl.store(line + RED + 1, tl.where(sound, green, 0.0), there)
    tl.store(line + RED + 2, tl.where(sound, blue, 0.0), there)
    tl.store(line + OFFSET, tl.where(sound, offset, stand_in), there)


@triton.jit
def upsample_kernel(
    maps: tl.tensor,  # float32 [low_h, low_w, CHANNELS]
    image: tl.tensor,  # uint8 [height, width, 3]
    out: tl.tensor,  # float32 [height, width]
    low_h: tl.tensor,
    low_w: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    INVERSE: tl.constexpr,
    WEIGHT: tl.constexpr,
    LOWEST: tl.constexpr,
    HIGHEST: tl.constexpr,
    RED: tl.constexpr,
    OFFSET: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: rows, blocks of columns."""
    y, x = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = x < width
    top, bottom, left, right, down, across = between(y, x, low_h, low_w, height, width)
    upper_left, upper_right = maps + (top * low_w + left) * CHANNELS, maps + (top * low_w + right) * CHANNELS
    lower_left, lower_right = maps + (bottom * low_w + left) * CHANNELS, maps + (bottom * low_w + right) * CHANNELS
    a, b = (1.0 - down) * (1.0 - across), (1.0 - down) * across
    c, d = down * (1.0 - across), down * across

    inverse = a * tl.load(upper_left + INVERSE) + b * tl.load(upper_right + INVERSE)
    inverse += c * tl.load(lower_left + INVERSE) + d * tl.load(lower_right + INVERSE)
    weight = a * tl.load(upper_left + WEIGHT) + b * tl.load(upper_right + WEIGHT)
    weight += c * tl.load(lower_left + WEIGHT) + d * tl.load(lower_right + WEIGHT)
    lowest = a * tl.load(upper_left + LOWEST) + b * tl.load(upper_right + LOWEST)
    lowest += c * tl.load(lower_left + LOWEST) + d * tl.load(lower_right + LOWEST)
    highest = a * tl.load(upper_left + HIGHEST) + b * tl.load(upper_right + HIGHEST)
    highest += c * tl.load(lower_left + HIGHEST) + d * tl.load(lower_right + HIGHEST)
    fitted = a * tl.load(upper_left + OFFSET) + b * tl.load(upper_right + OFFSET)
    fitted += c * tl.load(lower_left + OFFSET) + d * tl.load(lower_right + OFFSET)
    pixel = image + (y.to(tl.int64) * width + x) * 3
    for channel in tl.static_range(3):
        slope = a * tl.load(upper_left + RED + channel) + b * tl.load(upper_right + RED + channel)
        slope += c * tl.load(lower_left + RED + channel) + d * tl.load(lower_right + RED + channel)
        fitted += slope * (tl.load(pixel + channel, there, 0).to(tl.float32) * (1.0 / 255.0))
    smooth = 1.0 / inverse
    bounded = tl.minimum(tl.maximum(fitted, lowest, propagate_nan=_ALL), highest, propagate_nan=_ALL)
    mixed = smooth * tl.exp(weight * (bounded - tl.log(smooth)))
    tl.store(out + y.to(tl.int64) * width + x, tl.where(weight > 0, mixed, smooth), there)


def kinks(depth: torch.Tensor) -> torch.Tensor:
    """``edge_aware._kinks`` of a coarse depth ``float32 [h, w]``."""
    h, w = depth.shape
    out = torch.empty_like(depth)
    launch(kinks_kernel, (triton.cdiv(h * w, BLOCK),), depth, out, h, w, BLOCK=BLOCK)
    return out


def guided_maps(
    depth: torch.Tensor,
    small: torch.Tensor,
    kinks: torch.Tensor,
    usual: torch.Tensor,
    layout: Layout,
    channels: int,
    *,
    ridge: float,
    steps: tuple[float, float],
    kink: float,
    noise: float,
) -> torch.Tensor:
    """``edge_aware.guided_maps`` from the ``kinks`` of the depth and their median; the rest are its constants."""
    h, w = depth.shape
    programs = (triton.cdiv(h * w, BLOCK),)
    fits = torch.empty(h, w, 4, dtype=torch.float64, device=depth.device)
    launch(fits_kernel, programs, depth, small.contiguous(), fits, h, w, RIDGE=ridge, BLOCK=BLOCK)
    out = depth.new_empty(h, w, channels)
    constants = dict(zip(("INVERSE", "WEIGHT", "LOWEST", "HIGHEST", "RED", "OFFSET"), layout, strict=True))
    launch(
        maps_kernel,
        programs,
        depth,
        kinks,
        usual,
        fits,
        out,
        h,
        w,
        STEP=steps[0],
        FULL_STEP=steps[1],
        KINK=kink,
        NOISE=noise,
        **constants,
        CHANNELS=channels,
        BLOCK=BLOCK,
    )
    return out


def upsample(maps: torch.Tensor, image: torch.Tensor, layout: Layout) -> torch.Tensor:
    """maps ``float32 [h, w, CHANNELS]``, image ``uint8 [H, W, 3]`` → ``float32 [H, W]``."""
    (low_h, low_w, channels), (height, width) = maps.shape, image.shape[:2]
    out = maps.new_empty(height, width)
    constants = dict(zip(("INVERSE", "WEIGHT", "LOWEST", "HIGHEST", "RED", "OFFSET"), layout, strict=True))
    sizes = low_h, low_w, height, width
    grid = (height, triton.cdiv(width, BLOCK))
    launch(upsample_kernel, grid, maps, image.contiguous(), out, *sizes, **constants, CHANNELS=channels, BLOCK=BLOCK)
    return out
