"""How uncertain the coarse model is about each of its pixels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.upsampling.interpolation import bilinear

Mode = Literal["entropy", "edges", "both"]
FLOOR = 1e-6


def entropy(features: torch.Tensor) -> torch.Tensor:
    """Softmax entropy over the channels, H(p) = −Σ q ln q (2K Retrofit, section 3.2): ``[C, h, w]`` → ``[h, w]``, 0…ln C nats."""
    log_q = F.log_softmax(features.float(), 0)
    return -(log_q.exp() * log_q).sum(0)


def edge_strength(depth: torch.Tensor) -> torch.Tensor:
    """Largest step of ln depth within the 3×3 neighbourhood, ``[h, w]`` → ``[h, w]``; the same for a depth scaled by any factor."""
    log = F.pad(depth.log()[None, None], (1, 1, 1, 1), mode="replicate")
    return (F.max_pool2d(log, 3, 1) + F.max_pool2d(-log, 3, 1))[0, 0]


def uncertainty(coarse: CoarsePrediction, mode: Mode = "both") -> torch.Tensor:
    """Selection score on the coarse grid, ``float32 [h, w]``, ≥ 0, about 1 on average; only its ranking matters.

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


def _least_where_broken(values: torch.Tensor) -> torch.Tensor:
    """Values that are not finite become the least finite one (0 if there is none), so that they change nothing elsewhere."""
    finite = torch.isfinite(values)
    least = torch.where(finite, values, torch.inf).amin()
    return torch.where(finite, values, torch.where(torch.isfinite(least), least, 0.0))
