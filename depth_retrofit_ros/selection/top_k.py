"""A fixed number of pixels, however uncertain the frame is: that is what bounds the latency.

The K-th highest score is found by counting, not by sorting: a histogram over the upper half of the scores' bits, then one over the
lower half of those in the bin where the K-th lies. A float's bits, read as an integer, keep its order, so this is exact.
"""

from __future__ import annotations

import torch

from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.selection import top_k_cpu
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import bilinear

BINS = 1 << 16


def select_top(score: torch.Tensor, size: tuple[int, int], count: int) -> PixelSet:
    """The ``count`` pixels of a ``size = (H, W)`` frame with the highest score, the score being given on a coarse grid ``[h, w]``.

    score: finite; it is interpolated bilinearly. Exactly ``min(count, H·W)`` pixels; of equal scores the first in row-major order
    win, so the choice is deterministic. On a CPU by compiled code; elsewhere without waiting for the device.
    """
    count = min(count, size[0] * size[1])
    if count == 0:
        return PixelSet.from_indices(torch.empty(0, dtype=torch.int64, device=score.device), size)
    if has_kernels(score.device):
        from depth_retrofit_ros.selection import top_k_triton

        return top_k_triton.select_top(score, size, count)
    if score.device.type == "cpu":
        return top_k_cpu.select_top(score, size, count)
    return select_top_by_torch(score, size, count)


def select_top_by_torch(score: torch.Tensor, size: tuple[int, int], count: int) -> PixelSet:
    """``select_top`` on any device, of 1 to H·W pixels, in shapes that do not depend on the scores: a CUDA graph can hold it."""
    full = bilinear(score[None].float(), size).flatten()
    bits = full.add_(0.0).view(torch.int32)  # + 0 makes −0 an ordinary zero
    keys = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    upper = (keys >> 16) + BINS // 2
    upper_bin, above = _bin_of_rank(upper, torch.ones_like(upper), count)
    inside = upper == upper_bin
    lower = keys & (BINS - 1)
    lower_bin, above_inside = _bin_of_rank(lower, inside.int(), count - above)
    over = (upper > upper_bin) | (inside & (lower > lower_bin))
    ties = inside & (lower == lower_bin)
    chosen = over | (ties & (ties.cumsum(0) <= count - above - above_inside))

    rank = chosen.cumsum(0)
    index_image = torch.where(chosen, rank - 1, -1).int()
    places = torch.where(chosen, rank - 1, count)  # the others all go to one place behind the end
    indices = rank.new_empty(count + 1).scatter_(0, places, torch.arange(full.numel(), device=full.device))[:count]
    return PixelSet(indices, index_image.view(size))


def _bin_of_rank(bins: torch.Tensor, weights: torch.Tensor, rank: int | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The bin of the ``rank``-th highest, and how many are in the bins above it, both ``[1]``. bins, weights: ``int32 [N]``."""
    histogram = torch.zeros(BINS, dtype=torch.int32, device=bins.device).scatter_add_(0, bins.long(), weights)
    falling = histogram.flip(0)
    from_the_top = falling.cumsum(0)
    position = (from_the_top < rank).sum(0, keepdim=True)
    # Not from_the_top[position], which would wait for the device to tell where that is.
    return BINS - 1 - position, (from_the_top - falling).index_select(0, position)
