"""Where a sharp answer and the coarse depth disagree, and what the second pass is given there (arXiv 2411.18229, section 3).

Used by the small network and by the full pipeline alike. Depth is normalised to about −1…1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

AGREES = 0.5  # disagreement below which a pixel tells scale and shift
LEAST_FULL = 0.06  # difference of normalised ln depth that may count as a full disagreement, of tiles
REACH = 16  # px around a pixel, of a tile, from which scale and shift of a sharp answer are told: a few coarse pixels
LEAST_RELIEF = 1e-4  # variance of an answer there, in normalised ln depth, that tells something
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


def aligned(sharp: Tensor, coarse: Tensor) -> Tensor:
    """Tiles ``[T, S, S]`` of a sharp answer in the scale and shift that the coarse one has around each pixel; see ``local_fit``."""
    scale, shift = local_fit(sharp, coarse)
    return scale * sharp + shift


def local_fit(sharp: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[T, S, S]`` by which the sharp answer comes nearest to the coarse one within ``REACH`` of each pixel, as
    far as the two have relief in common there; for the rest it is the coarse one.

    What is seen in a tile alone cannot tell how far things are, and a small network's relief is right among neighbors only. A
    guided filter (He et al. 2013) whose guide is the sharp answer, but that each window counts by its squared correlation, and as
    much as it has relief: otherwise those from beside an edge would bring its blur back. Opposite relief counts as none.
    """
    mean, wanted = _around(sharp), _around(coarse)
    relief = (_around(sharp * sharp) - mean * mean).clamp_min(0.0) + LEAST_RELIEF
    common = (_around(sharp * coarse) - mean * wanted).clamp_min(0.0)
    scale = common / relief
    other = (_around(coarse * coarse) - wanted * wanted).clamp_min(0.0) + LEAST_RELIEF
    explained = (scale * common / other).clamp_max(1.0)
    total, weight = _around(relief), relief * explained
    shift = _around(weight * (wanted - scale * mean)) / total
    return _around(weight * scale) / total, shift + (1 - _around(weight) / total) * coarse


def _around(values: Tensor) -> Tensor:
    """The mean of ``[T, S, S]`` within ``REACH`` px of each pixel, as far as the tile goes."""
    for axis in (1, 2):
        side = values.shape[axis]
        places = torch.arange(side, device=values.device)
        low, high = (places - REACH).clamp_min(0), (places + REACH + 1).clamp_max(side)
        sums = torch.nn.functional.pad(values.cumsum(axis), (1, 0) if axis == 2 else (0, 0, 1, 0))
        total = sums.index_select(axis, high) - sums.index_select(axis, low)
        values = total / (high - low).view(-1, *[1] * (2 - axis))
    return values
