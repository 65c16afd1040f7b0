"""``top_k.select_top_by_torch`` in seven kernels, for CUDA: two histograms, then a count and a scan that order the chosen."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch
from depth_retrofit_ros.device.scan_triton import sums_before
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation_triton import between

BLOCK = 1024  # pixels of a program
# A pixel's key is made anew in four kernels and must be the same in all: compiled by itself, a product may be rounded before it is
# added, or not.
ROUNDED = {"enable_fp_fusion": False}
BINS: tl.constexpr = tl.constexpr(1 << 16)


@triton.jit
def key_of(
    score: tl.tensor, pixel: tl.tensor, there: tl.tensor, low_h: tl.tensor, low_w: tl.tensor, height: tl.tensor, width: tl.tensor
) -> tl.tensor:
    """An int32 for each pixel, whose order is that of the scores interpolated there. Made anew wherever it is wanted: the score's
    small map stays in the cache, a full-size map of keys would not."""
    y, x = pixel // width, pixel % width
    top, bottom, left, right, down, across = between(y, x, low_h, low_w, height, width)
    upper = (1.0 - across) * tl.load(score + top * low_w + left, there, 0.0)
    upper += across * tl.load(score + top * low_w + right, there, 0.0)
    lower = (1.0 - across) * tl.load(score + bottom * low_w + left, there, 0.0)
    lower += across * tl.load(score + bottom * low_w + right, there, 0.0)
    bits = ((1.0 - down) * upper + down * lower + 0.0).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def upper_kernel(
    score: tl.tensor,  # float32 [low_h, low_w]
    histogram: tl.tensor,  # int32 [BINS], zeros: of the upper halves of the keys
    low_h: tl.tensor,
    low_w: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < height * width
    key = key_of(score, pixel, there, low_h, low_w, height, width)
    tl.atomic_add(histogram + ((key >> 16) + BINS // 2), 1, there)


@triton.jit
def rank_kernel(
    histogram: tl.tensor,  # int32 [BINS]
    found: tl.tensor,  # int32 [4]: upper bin, pixels above it, lower bin, pixels above that in it
    count: tl.tensor,
    SECOND: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The bin of the count-th highest pixel, and how many are in the bins above. One program."""
    wanted = count - (tl.load(found + 1) if SECOND else 0)
    above = count * 0
    bin_found, above_found = count * 0 - 1, count * 0
    for start in range(0, BINS, BLOCK):
        bins = BINS - 1 - (start + tl.arange(0, BLOCK))  # from the highest down
        number = tl.load(histogram + bins)
        up_to = above + tl.cumsum(number, 0)
        here = tl.sum((up_to < wanted).to(tl.int32), 0)  # bins of this block that end before it
        first = (here < BLOCK) & (bin_found < 0)
        before = tl.sum(tl.where(tl.arange(0, BLOCK) < here, number, 0), 0)
        bin_found = tl.where(first, BINS - 1 - (start + here), bin_found)
        above_found = tl.where(first, above + before, above_found)
        above += tl.sum(number, 0)
    tl.store(found + (2 if SECOND else 0), bin_found)
    tl.store(found + (3 if SECOND else 1), above_found)


@triton.jit
def lower_kernel(
    score: tl.tensor,  # float32 [low_h, low_w]
    found: tl.tensor,  # int32 [4]
    histogram: tl.tensor,  # int32 [BINS], zeros: of the lower halves of the keys in the upper bin
    low_h: tl.tensor,
    low_w: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < height * width
    key = key_of(score, pixel, there, low_h, low_w, height, width)
    inside = there & ((key >> 16) + BINS // 2 == tl.load(found))
    tl.atomic_add(histogram + (key & (BINS - 1)), 1, inside)


@triton.jit
def over_and_ties(key: tl.tensor, there: tl.tensor, found: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Which are chosen for sure, and which are equal to the last that is."""
    upper, lower = (key >> 16) + BINS // 2, key & (BINS - 1)
    upper_bin, lower_bin = tl.load(found), tl.load(found + 2)
    over = (upper > upper_bin) | ((upper == upper_bin) & (lower > lower_bin))
    return there & over, there & (upper == upper_bin) & (lower == lower_bin)


@triton.jit
def count_kernel(
    score: tl.tensor,  # float32 [low_h, low_w]
    found: tl.tensor,  # int32 [4]
    counts: tl.tensor,  # int32 [2, blocks]: pixels over and ties of each block
    blocks: tl.tensor,
    low_h: tl.tensor,
    low_w: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < height * width
    over, ties = over_and_ties(key_of(score, pixel, there, low_h, low_w, height, width), there, found)
    tl.store(counts + tl.program_id(0), tl.sum(over.to(tl.int32), 0))
    tl.store(counts + blocks + tl.program_id(0), tl.sum(ties.to(tl.int32), 0))


@triton.jit
def scan_kernel(counts: tl.tensor, blocks: tl.tensor, BLOCK: tl.constexpr) -> None:
    """Both rows of counts become the sums of what comes before each block. One program."""
    for row in tl.static_range(2):
        sums_before(counts + row * blocks, blocks, BLOCK)


@triton.jit
def write_kernel(
    score: tl.tensor,  # float32 [low_h, low_w]
    found: tl.tensor,  # int32 [4]
    before: tl.tensor,  # int32 [2, blocks]
    indices: tl.tensor,  # int64 [count]
    index_image: tl.tensor,  # int32 [height, width]
    count: tl.tensor,
    blocks: tl.tensor,
    low_h: tl.tensor,
    low_w: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Grid: blocks of pixels."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < height * width
    over, ties = over_and_ties(key_of(score, pixel, there, low_h, low_w, height, width), there, found)
    wanted = count - tl.load(found + 1) - tl.load(found + 3)  # of the ties, the first
    before_over, before_ties = tl.load(before + tl.program_id(0)), tl.load(before + blocks + tl.program_id(0))
    tie_rank = before_ties + tl.cumsum(ties.to(tl.int32), 0)  # from 1 on
    chosen = over | (ties & (tie_rank <= wanted))
    first = before_over + tl.minimum(before_ties, wanted)
    rank = first + tl.cumsum(chosen.to(tl.int32), 0) - 1
    tl.store(index_image + pixel, tl.where(chosen, rank, -1), there)
    tl.store(indices + rank, pixel.to(tl.int64), chosen)


def select_top(score: torch.Tensor, size: tuple[int, int], count: int) -> PixelSet:
    """``top_k.select_top_by_torch`` of score ``[h, w]``, of 1 to H·W pixels."""
    score = score.float().contiguous()
    sizes = *score.shape, *size
    blocks = triton.cdiv(size[0] * size[1], BLOCK)

    def made(*shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=score.device)

    found, counts = made(4), made(2, blocks)
    indices, index_image = made(count, dtype=torch.int64), made(*size)
    upper, lower = torch.zeros(2, BINS.value, dtype=torch.int32, device=score.device)
    launch(upper_kernel, (blocks,), score, upper, *sizes, BLOCK=BLOCK, **ROUNDED)
    launch(rank_kernel, (1,), upper, found, count, SECOND=False, BLOCK=1024)
    launch(lower_kernel, (blocks,), score, found, lower, *sizes, BLOCK=BLOCK, **ROUNDED)
    launch(rank_kernel, (1,), lower, found, count, SECOND=True, BLOCK=1024)
    launch(count_kernel, (blocks,), score, found, counts, blocks, *sizes, BLOCK=BLOCK, **ROUNDED)
    launch(scan_kernel, (1,), counts, blocks, BLOCK=1024)
    launch(write_kernel, (blocks,), score, found, counts, indices, index_image, count, blocks, *sizes, BLOCK=BLOCK, **ROUNDED)
    return PixelSet(indices, index_image)
