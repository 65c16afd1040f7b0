"""Where a sharp answer and the coarse depth disagree, and what the second pass is given there (arXiv 2411.18229, section 3).

Used by the small network and by the full pipeline alike. Depth is normalised to about −1…1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from depth_retrofit_ros.refinement.anchor import least_squares

AGREES = 0.5  # disagreement below which a pixel tells scale and shift
FULL = 0.06  # difference of normalised ln depth that counts as a full disagreement, of tiles
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


def disagreement(sharp: Tensor, coarse: Tensor, full: float | None = None) -> Tensor:
    """How far two normalised answers are apart, 0…1. full: the difference that is 1; None for the largest of all."""
    apart = (sharp - coarse).abs()
    return (apart / (apart.amax().clamp_min(torch.finfo(apart.dtype).tiny) if full is None else full)).clamp(0, 1)


def mixed(gate: Tensor, noise: Tensor, coarse: Tensor) -> Tensor:
    """Noise where the two disagree, the coarse answer where they agree: what the second pass starts from."""
    return gate * noise + (1 - gate) * coarse


def aligned(sharp: Tensor, coarse: Tensor) -> Tensor:
    """Tiles ``[T, S, S]`` of a sharp answer, each in the scale and shift of the coarse one: what is seen in a tile alone cannot
    tell how far it is. Of opposite relief only the mean is left."""
    values = sharp.flatten(1)
    fit = least_squares(values, coarse.flatten(1), torch.ones_like(values))
    scale = fit.scale.clamp_min(0.0)
    shift = coarse.mean((1, 2)) - scale * values.mean(1)
    return (scale[:, None] * values + shift[:, None]).view_as(sharp)
