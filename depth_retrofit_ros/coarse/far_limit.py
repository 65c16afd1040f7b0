"""How far the sky is: not much farther than the farthest thing that the frame shows.

Models put the sky anywhere from just behind the farthest thing to a hundred times as far. Mixed into an edge, so large a value
decides everything around it: a branch whose pixels are a little sky lands hundreds of meters behind the tree. So depth ends at a
limit, before anything is scored, upsampled or refined.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.device.launches import has_kernels

SEEN = 0.99  # share of a frame's inverse depth that belongs to things, however far behind them the sky is
BEHIND = 2.5  # times the farthest thing
LEAST = 10.0  # times the harmonic mean depth: what is nearer is never cut off
NEVER_SKY_M = 40.0  # depth in meters up to which is not cut off: a hall behind a tabletop is no sky
SAMPLES = 10_000  # cells, from which the limit is taken


def far_limit(depth: torch.Tensor) -> torch.Tensor:
    """The farthest depth ``[]`` that a frame with this coarse depth ``[h, w]`` may have.

    Sky and far things are told apart by their part in the frame's inverse depth, to which sky adds next to nothing, wherever a
    model puts it: the limit is ``BEHIND`` times the depth within which ``SEEN`` of that sum lies, at least ``LEAST`` times the
    harmonic mean. NaN cells are left out. Scaling the depth scales the limit.
    """
    stride = max(1, math.isqrt(depth.numel() // SAMPLES))
    cells = depth[::stride, ::stride].flatten().sort().values  # NaN last
    if has_kernels(cells.device):
        from depth_retrofit_ros.coarse import far_limit_triton

        return far_limit_triton.limit_of(cells, SEEN, BEHIND, LEAST)
    return limit_of_sorted(cells).to(depth.dtype)


def limit_of_sorted(cells: torch.Tensor) -> torch.Tensor:
    """The limit of a frame with these cells ``[n]``, rising, NaN last: the specification of the kernel."""
    unknown = cells.isnan()
    total = torch.where(unknown, 0.0, cells.reciprocal()).double().cumsum(0)
    farthest = torch.where(total <= SEEN * total[-1], cells, 0.0).amax()
    return torch.maximum(BEHIND * farthest, LEAST * (~unknown).sum() / total[-1])


def limit_far(coarse: CoarsePrediction, claim: ScaleClaim) -> CoarsePrediction:
    """The prediction with everything beyond ``far_limit`` at that limit. NaN stays NaN.

    claim: of the model. Where its depth is metric, what lies within ``NEVER_SKY_M`` is left as it is. What the model itself calls
    sky has no part in the limit, and lies at it.
    """
    seen = coarse.depth if coarse.sky is None else torch.where(coarse.sky, torch.nan, coarse.depth)
    limit = far_limit(seen)
    limit = torch.where(limit.isnan(), torch.inf, limit)  # of a frame that is nothing but sky
    if claim.kind == "metric":
        limit = limit.clamp_min(NEVER_SKY_M)
    depth = torch.minimum(coarse.depth, limit)
    if coarse.sky is not None:
        depth = torch.where(coarse.sky & limit.isfinite(), limit, depth)
    return replace(coarse, depth=depth)
