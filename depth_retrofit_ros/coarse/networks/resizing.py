"""How networks resize their own maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def corner_aligned(x: Tensor, size: Sequence[int]) -> Tensor:
    """``[B, C, h, w]`` → ``[B, C, *size]``, bilinear, with the corner pixels' centres on each other, as DPT heads are trained."""
    return F.interpolate(x, list(size), mode="bilinear", align_corners=True)
