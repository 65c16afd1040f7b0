"""What the selection score is made of, for CUDA: contrast of the frame, entropy of the features, steps of the depth."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch
from depth_retrofit_ros.upsampling.interpolation import bilinear

BLOCK = 128  # cells of a program
CELLS = 32  # of a program that reads the frame
_ALL: tl.constexpr = tl.constexpr(tl.PropagateNan.ALL)


@triton.jit
def deviation_kernel(
    image: tl.tensor,  # uint8 [height, width, 3]
    out: tl.tensor,  # float32 [h, w]
    height: tl.tensor,
    width: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    WIDEST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """``contrast.cell_deviation``. Grid: rows of cells, blocks of cells. A pixel belongs to the cell that has its centre: row y to
    the cell (2y + 1) h // 2 height. Sums are of whole numbers about 128 and exact."""
    row, column = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = column < w
    # The first pixel of cell i is the least y with (2y + 1) h >= 2 height i.
    first_y, end_y = (2 * height * row - h + 2 * h - 1) // (2 * h), (2 * height * (row + 1) - h + 2 * h - 1) // (2 * h)
    first_x, end_x = (2 * width * column - w + 2 * w - 1) // (2 * w), (2 * width * (column + 1) - w + 2 * w - 1) // (2 * w)
    first_y, first_x = tl.maximum(first_y, 0), tl.maximum(first_x, 0)
    zero = tl.zeros((BLOCK,), tl.int32)
    r, g, b, rr, gg, bb = zero, zero, zero, zero, zero, zero
    for y in range(first_y, end_y):
        for i in range(WIDEST):
            x = first_x + i
            used = there & (x < end_x)
            pixel = image + (y * width + x) * 3
            red = tl.where(used, tl.load(pixel, used, 0).to(tl.int32) - 128, 0)
            green = tl.where(used, tl.load(pixel + 1, used, 0).to(tl.int32) - 128, 0)
            blue = tl.where(used, tl.load(pixel + 2, used, 0).to(tl.int32) - 128, 0)
            r += red
            g += green
            b += blue
            rr += red * red
            gg += green * green
            bb += blue * blue
    count = ((end_y - first_y) * (end_x - first_x)).to(tl.float32)
    mean_r, mean_g, mean_b = r / count, g / count, b / count
    total = tl.sqrt(tl.maximum(rr / count - mean_r * mean_r, 0.0)) + tl.sqrt(tl.maximum(gg / count - mean_g * mean_g, 0.0))
    total += tl.sqrt(tl.maximum(bb / count - mean_b * mean_b, 0.0))
    tl.store(out + row.to(tl.int64) * w + column, total / (3.0 * 255.0), there)


@triton.jit
def entropy_kernel(
    features: tl.tensor,  # [channels, count], any real type
    out: tl.tensor,  # float32 [count]
    channels: tl.tensor,
    count: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """``uncertainty.entropy``; infinite where it would not be finite. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = cell < count
    highest = tl.zeros((BLOCK,), tl.float32) - float("inf")
    for c in range(channels):
        highest = tl.maximum(highest, tl.load(features + c * count + cell, there, 0.0).to(tl.float32), propagate_nan=_ALL)
    total, below = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for c in range(channels):
        logit = tl.load(features + c * count + cell, there, 0.0).to(tl.float32) - highest
        weight = tl.exp(logit)
        total += weight
        below += tl.where(weight > 0, weight * logit, 0.0)
    value = tl.log(total) - below / total
    tl.store(out + cell, tl.where(tl.abs(value) < float("inf"), value, float("inf")), there)


@triton.jit
def edges_kernel(
    depth: tl.tensor,  # float32 [h, w]
    out: tl.tensor,  # float32 [h, w]
    h: tl.tensor,
    w: tl.tensor,
    HALF_STEP: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """``uncertainty.edge_strength``; infinite where it would not be finite. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y, x = cell // w, cell % w
    own = tl.log(tl.load(depth + cell, cell < h * w, 1.0))
    low, high, lowest, highest = own, own, own, own
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            there = tl.minimum(tl.maximum(y + dy, 0), h - 1) * w + tl.minimum(tl.maximum(x + dx, 0), w - 1)
            log = tl.log(tl.load(depth + there))
            lowest = tl.minimum(lowest, log, propagate_nan=_ALL)
            highest = tl.maximum(highest, log, propagate_nan=_ALL)
            near = (tl.abs(dy) <= 1) & (tl.abs(dx) <= 1)
            low = tl.where(near, tl.minimum(low, log, propagate_nan=_ALL), low)
            high = tl.where(near, tl.maximum(high, log, propagate_nan=_ALL), high)
    step = ((high - low) + 0.5 * (highest - lowest)) / 1.5
    value = step / (step + HALF_STEP)
    tl.store(out + cell, tl.where(tl.abs(value) < float("inf"), value, float("inf")), cell < h * w)


@triton.jit
def score_kernel(
    entropy: tl.tensor,  # float32 [count], finite
    least_entropy: tl.tensor,  # float32 [1]
    mean_entropy: tl.tensor,  # float32 [1]
    edges: tl.tensor,  # float32 [count], finite
    mean_edges: tl.tensor,  # float32 [1]
    contrast: tl.tensor,  # float32 [count]
    out: tl.tensor,  # float32 [count]
    count: tl.tensor,
    FLOOR: tl.constexpr,
    LEAST_DOUBT: tl.constexpr,
    LEAST_CONTRAST: tl.constexpr,
    FULL_CONTRAST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """``uncertainty.doubt`` times the root of the contrast. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = cell < count
    least = tl.load(least_entropy)
    by_entropy = (tl.load(entropy + cell, there, 0.0) - least) / tl.maximum(tl.load(mean_entropy) - least, FLOOR)
    by_edges = tl.load(edges + cell, there, 0.0) / tl.maximum(tl.load(mean_edges), FLOOR)
    shown = tl.minimum(tl.maximum(tl.load(contrast + cell, there, 0.0), LEAST_CONTRAST), FULL_CONTRAST)
    tl.store(out + cell, (0.5 * (by_entropy + by_edges) + LEAST_DOUBT) * tl.sqrt(shown), there)


def score(
    features: torch.Tensor,
    depth: torch.Tensor,
    contrast: torch.Tensor,
    half_step: float,
    floor: float,
    least_doubt: float,
    contrasts: tuple[float, float],
) -> torch.Tensor:
    """``uncertainty.uncertainty`` of features ``[C, h', w']``, depth and contrast ``[h, w]``, not yet divided by its mean. The rest
    are its constants, ``contrasts`` the least and the full one."""
    h, w = depth.shape
    hesitates, steps = _finite(entropy(features)), _finite(edge_strength(depth, half_step))
    if hesitates.shape != depth.shape:
        hesitates = bilinear(hesitates[None], (h, w), antialias=True)[0].contiguous()
    out = torch.empty_like(steps)
    tensors = hesitates, hesitates.amin(), hesitates.mean(), steps, steps.mean(), contrast.contiguous(), out
    launch(
        score_kernel,
        (triton.cdiv(h * w, BLOCK),),
        *tensors,
        h * w,
        FLOOR=floor,
        LEAST_DOUBT=least_doubt,
        LEAST_CONTRAST=contrasts[0],
        FULL_CONTRAST=contrasts[1],
        BLOCK=BLOCK,
    )
    return out


def _finite(values: torch.Tensor) -> torch.Tensor:
    """Infinite values become the least one, 0 if all are."""
    least = values.amin()
    return torch.where(values.isinf(), torch.where(least.isinf(), 0.0, least), values)


def cell_deviation(image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """``contrast.cell_deviation`` of ``uint8 [H, W, 3]`` on a grid no finer than the frame: ``float32 [h, w]``."""
    (height, width), (h, w) = image.shape[:2], grid
    out = torch.empty(h, w, device=image.device)
    sizes = height, width, h, w
    widest = -(-width // w) + 1
    launch(deviation_kernel, (h, triton.cdiv(w, CELLS)), image.contiguous(), out, *sizes, WIDEST=widest, BLOCK=CELLS)
    return out


def entropy(features: torch.Tensor) -> torch.Tensor:
    """``uncertainty.entropy`` of ``[C, h, w]``: ``float32 [h, w]``, infinite where it would not be finite."""
    channels, h, w = features.shape
    out = torch.empty(h, w, device=features.device)
    launch(entropy_kernel, (triton.cdiv(h * w, BLOCK),), features.contiguous(), out, channels, h * w, BLOCK=BLOCK)
    return out


def edge_strength(depth: torch.Tensor, half_step: float) -> torch.Tensor:
    """``uncertainty.edge_strength`` of ``float32 [h, w]``; infinite where it would not be finite."""
    h, w = depth.shape
    out = torch.empty_like(depth)
    launch(edges_kernel, (triton.cdiv(h * w, BLOCK),), depth.contiguous(), out, h, w, HALF_STEP=half_step, BLOCK=BLOCK)
    return out
