"""Depth of models that speak disparity."""

from __future__ import annotations

import torch
from torch import Tensor

FAR_SHARE = 0.01  # of the mean disparity: where a map says 0, depth is 100 times that of the mean disparity


def depth_from_disparity(disparity: Tensor) -> Tensor:
    """Relative depth > 0 of a disparity ≥ 0 ``[h, w]``; where that is 0 (sky), 100 times the depth of the frame's mean disparity.

    The floor follows the frame's own scale, so that scaling the disparity scales the depth and nothing else.
    """
    floor = FAR_SHARE * disparity.mean()
    return 1.0 / (disparity + floor).clamp_min(torch.finfo(torch.float32).tiny ** 0.5)
