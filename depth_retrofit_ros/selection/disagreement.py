"""Where two coarse models disagree: a score of their answers alone, for models that do not know what they are unsure of."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.scale.affine import robust_fit
from depth_retrofit_ros.selection.uncertainty import FLOOR
from depth_retrofit_ros.upsampling.interpolation import bilinear

HALF_DISAGREEMENT = 0.2  # of ln depth, which counts a half: beyond, one of the two is wrong for certain


def disagreement(coarse: CoarsePrediction, other: CoarsePrediction) -> Tensor:
    """How far another model's depth ``[h', w']`` is from the coarse depth ``[h, w]``, ``float32 [h, w]``, ≥ 0, 1 on average.

    In ln depth, after the scale and the power of depth by which most of the two agree: neither need be metric. Cells that are
    unknown or sky in one of them, or not finite, count as agreed, and eat no budget.
    """
    level = _surfaces(coarse)
    told = bilinear(_surfaces(other)[None], (level.shape[0], level.shape[1]), antialias=True)[0]
    known = level.isfinite() & told.isfinite()
    level, told = (torch.where(known, values, 0.0) for values in (level, told))
    fit = robust_fit(told.flatten(), level.flatten(), known.flatten())
    apart = torch.where(known, (fit.of(told.flatten()).view_as(level) - level).abs(), 0.0)
    apart = apart / (apart + HALF_DISAGREEMENT)
    return apart / apart.mean().clamp_min(FLOOR)


def _surfaces(coarse: CoarsePrediction) -> Tensor:
    """ln depth ``[h, w]``, NaN where no surface is known: depth there is finite, but nobody's answer."""
    level = coarse.depth.float().log()
    for none in (coarse.unknown, coarse.sky):
        level = level if none is None else level.masked_fill(none, torch.nan)
    return level
