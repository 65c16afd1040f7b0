"""Depth that is right up to scale and shift, brought to those of the coarse depth.

Both are in a space where that is affine; the last dimension holds the pixels, those before it are independent fits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEAST_TRUSTED = 0.2  # share of the pixels, below which nothing is fitted
HUBER = 1.345 * 1.4826  # of the median residual: beyond it, a residual counts as an outlier (95 % efficient on normal noise)
ROUNDS = 10
LEAST_VARIANCE = 1e-6  # of values that a scale can be told from
MOST = 100_003  # pixels that a robust fit looks at, evenly spaced: prime, so that they are not of a few columns alone


class Affine(NamedTuple):
    """scale, shift: ``[...]``."""

    scale: Tensor
    shift: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Applied to ``[..., N]``."""
        return self.scale[..., None] * values + self.shift[..., None]


def least_squares(values: Tensor, reference: Tensor, weights: Tensor, least_variance: float = LEAST_VARIANCE) -> Affine:
    """What brings values ``[..., N]`` nearest to the reference, in squares weighted by ``[..., N]`` ≥ 0. The scale of values that
    vary less than ``least_variance`` stays small."""
    total = weights.sum(-1).clamp_min(torch.finfo(values.dtype).tiny)
    mean, wanted = (weights * values).sum(-1) / total, (weights * reference).sum(-1) / total
    about = values - mean[..., None]
    together = (weights * about * (reference - wanted[..., None])).sum(-1) / total
    scale = together / ((weights * about * about).sum(-1) / total).clamp_min(least_variance)
    return Affine(scale, wanted - scale * mean)


def robust_fit(values: Tensor, reference: Tensor, trusted: Tensor) -> Affine:
    """The same by Huber's loss over the trusted pixels ``bool [..., N]``, so that wrong ones among them hardly matter: iteratively
    reweighted, from the median shift on. Scale 1 and shift 0 where fewer than ``LEAST_TRUSTED`` of the pixels are trusted.

    What is not finite is not trusted. Of more than ``MOST`` pixels those are looked at.
    """
    count = values.shape[-1]
    if count > MOST:
        some = torch.arange(MOST, device=values.device) * count // MOST
        values, reference, trusted = (every[..., some] for every in (values, reference, trusted))
    trusted = trusted & values.isfinite() & reference.isfinite()
    values, reference = (torch.where(trusted, every, 0.0) for every in (values, reference))  # which a weight of 0 leaves 0
    known = torch.where(trusted, 0.0, torch.nan)
    fit = Affine(torch.ones_like(values[..., 0]), (reference - values + known).nanmedian(-1).values.nan_to_num(0.0))
    for _ in range(ROUNDS):
        residual = (fit.of(values) - reference).abs()
        limit = HUBER * (residual + known).nanmedian(-1, keepdim=True).values.nan_to_num(0.0)
        weights = (limit.clamp_min(1e-6) / residual.clamp_min(1e-12)).clamp_max(1.0)
        fit = least_squares(values, reference, torch.where(trusted, weights, 0.0))
    enough = trusted.float().mean(-1) >= LEAST_TRUSTED
    return Affine(torch.where(enough, fit.scale, 1.0), torch.where(enough, fit.shift, 0.0))


def reanchored(level: Tensor, change: Tensor, trusted: Tensor) -> Tensor:
    """The change after one scale and shift of ln refined depth for all tiles together.

    level: ln coarse depth, change: what is added to it, trusted ``bool``: where both are to agree; all ``[T, S, S]``.
    """
    refined = (level + change).flatten()
    return robust_fit(refined, level.flatten(), trusted.flatten()).of(refined).view_as(level) - level
