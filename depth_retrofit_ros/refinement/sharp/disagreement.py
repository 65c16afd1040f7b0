"""Where a sharp answer and the coarse depth disagree, and what the second pass is given there (arXiv 2411.18229, section 3).

Used by the small network and by the full pipeline alike. Depth is normalised to about −1…1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

AGREES = 0.5  # disagreement below which a pixel tells scale and shift
LEAST_FULL = 0.06  # difference of normalised ln depth that may count as a full disagreement, of tiles
LARGEST = 1.2  # normalised depth beyond which nothing is told apart
TAIL = 0.005  # share of a frame's pixels that lie beyond each bound
LEAST_HALF = 0.1  # half the range of ln depth of the flattest frame
SAMPLES = 10_000  # cells that the bounds are taken from


def bounds(level: Tensor) -> tuple[Tensor, Tensor]:
    """The middle and half of the range of ln depth ``[h, w]`` of a whole frame, but for its ``TAIL``, ``[]`` each."""
    stride = max(1, math.isqrt(level.numel() // SAMPLES))
    cells = level[::stride, ::stride].flatten()
    low, high = cells.nanquantile(TAIL), cells.nanquantile(1 - TAIL)
    return (low + high) / 2, ((high - low) / 2).clamp_min(LEAST_HALF)


def disagreement(sharp: Tensor, coarse: Tensor, least_full: float = 0.0) -> Tensor:
    """How far two normalised answers ``[T, H, W]`` are apart, 0…1, 1 where they are farthest apart in each. least_full: the
    difference that is 1 at least, so that answers which agree everywhere are not told apart by their noise."""
    apart = (sharp - coarse).abs()
    full = apart.amax((1, 2), keepdim=True).clamp_min(max(least_full, torch.finfo(apart.dtype).tiny))
    return apart / full


def mixed(gate: Tensor, noise: Tensor, coarse: Tensor) -> Tensor:
    """Noise where the two disagree, the coarse answer where they agree: what the second pass starts from."""
    return gate * noise + (1 - gate) * coarse
