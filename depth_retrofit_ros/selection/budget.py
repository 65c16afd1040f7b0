"""A fixed number of pixels, however uncertain the frame is: that is what bounds the latency."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from depth_retrofit_ros.selection.pixel_set import PixelSet


def select_top(score: torch.Tensor, size: tuple[int, int], count: int) -> PixelSet:
    """The ``count`` pixels of a ``size = (H, W)`` frame with the highest score, the score being given on a coarse grid ``[h, w]``.

    Exactly ``min(count, H·W)`` pixels; of equal scores the first in row-major order win, so the choice is deterministic.
    """
    full = F.interpolate(score[None, None], size=size, mode="bilinear", align_corners=False).flatten()
    count = min(count, full.numel())
    if count == 0:
        return PixelSet.from_indices(torch.empty(0, dtype=torch.int64, device=score.device), size)
    threshold = full.topk(count, sorted=False).values.amin()
    above = full > threshold
    ties = (full == threshold).nonzero().squeeze(1)[: count - int(above.sum())]
    above[ties] = True
    return PixelSet.from_mask(above.view(size))
