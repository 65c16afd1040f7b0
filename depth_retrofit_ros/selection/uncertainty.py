"""How uncertain the coarse model is about each of its pixels."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.upsampling.interpolation import bilinear, nearest

Mode = Literal["entropy", "edges", "both"]
FLOOR = 1e-6
HALF_STEP = 0.15  # of ln depth
LEAST_DOUBT = 0.01  # of 1 on average: where a map has none at all, the contrast decides
LEAST_CONTRAST = 1 / 255  # a frame that shows nothing is scored by depth alone
FULL_CONTRAST = 0.1  # of full scale: more is not more of an edge


def entropy(features: torch.Tensor) -> torch.Tensor:
    """Softmax entropy over the channels, H(p) = −Σ q ln q (2K Retrofit, section 3.2): ``[C, h, w]`` → ``[h, w]``, 0…ln C nats."""
    log_q = F.log_softmax(features.float(), 0)
    return -(log_q.exp() * log_q).sum(0)


def entropy_share(features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``entropy`` as a share of the largest that C channels can have, ln C: ``[C, h', w']`` → ``float32`` of ``size``, 0…1, nearest
    where that is another grid. Of one channel it is 0. A value that is not finite becomes the least one."""
    share = _least_where_broken(entropy(features)) / max(math.log(features.shape[0]), FLOOR)
    return share if tuple(share.shape) == size else nearest(share, size)


def edge_strength(depth: torch.Tensor) -> torch.Tensor:
    """Steps of ln depth around each cell, saturating: ``[h, w]`` → ``[h, w]``, 0…1; the same for a depth scaled by any factor.

    The largest step within 3×3 cells and, half as much, within 5×5, as a thin thing's own step is small in a coarse map. A step of
    ``HALF_STEP`` counts a half: beyond, it is certain that there is an edge, and a larger one is not more uncertain.
    """
    log = depth.log()[None, None]
    step = (_range(log, 1) + 0.5 * _range(log, 2)) / 1.5
    return step / (step + HALF_STEP)


def _range(values: torch.Tensor, reach: int) -> torch.Tensor:
    """Highest less lowest value within ``reach`` cells, of ``[1, 1, h, w]`` → ``[h, w]``."""
    padded, side = F.pad(values, (reach,) * 4, mode="replicate"), 2 * reach + 1
    return (F.max_pool2d(padded, side, 1) + F.max_pool2d(-padded, side, 1))[0, 0]


def uncertainty(coarse: CoarsePrediction, contrast: torch.Tensor, mode: Mode = "both") -> torch.Tensor:
    """Selection score on the coarse grid, ``float32 [h, w]``, ≥ 0, about 1 on average; only its ranking matters.

    contrast ``[h, w]``: of the frame within each cell, see ``selection.contrast``.
    """
    if mode == "both" and has_kernels(coarse.depth.device):
        from depth_retrofit_ros.selection import score_triton

        constants = HALF_STEP, FLOOR, LEAST_DOUBT, (LEAST_CONTRAST, FULL_CONTRAST)
        score = score_triton.score(coarse.features, coarse.depth, contrast, *constants)
        return score / score.mean().clamp_min(FLOOR)
    return weighted(doubt(coarse, mode), contrast)


def doubt(coarse: CoarsePrediction, mode: Mode = "both") -> torch.Tensor:
    """What the prediction itself says, ``float32 [h, w]``, ≥ 0, 1 on average.

    Entropy knows where the model hesitates, edges where its own answer jumps; each is divided by its mean over the frame, so that
    no model-dependent threshold remains. A value that is not finite (a broken feature map) counts as certain and eats no budget.
    """
    size = (coarse.depth.shape[0], coarse.depth.shape[1])
    parts = []
    if mode != "edges":
        h = _least_where_broken(entropy(coarse.features))
        h = bilinear(h[None], size, antialias=True)[0]
        parts.append((h - h.amin()) / (h - h.amin()).mean().clamp_min(FLOOR))
    if mode != "entropy":
        g = _least_where_broken(edge_strength(coarse.depth))
        parts.append(g / g.mean().clamp_min(FLOOR))
    # Not widened: on soft coarse maps that spends the budget beside the errors (docs/ablations.md).
    return torch.stack(parts).mean(0)


def weighted(doubt: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """``doubt`` times the root of the contrast, both ``[h, w]``: a thin thing barely moves the depth of its cell, but shows in the
    frame; and where the frame shows nothing, there is nothing to refine by."""
    score = (doubt + LEAST_DOUBT) * contrast.clamp(LEAST_CONTRAST, FULL_CONTRAST).sqrt()
    return score / score.mean().clamp_min(FLOOR)


def _least_where_broken(values: torch.Tensor) -> torch.Tensor:
    """Values that are not finite become the least finite one (0 if there is none), so that they change nothing elsewhere."""
    finite = torch.isfinite(values)
    least = torch.where(finite, values, torch.inf).amin()
    return torch.where(finite, values, torch.where(torch.isfinite(least), least, 0.0))
