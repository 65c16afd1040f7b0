"""What a selection is made of: a score on the coarse grid, and a choice of pixels by it."""

from __future__ import annotations

from typing import Protocol

import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.selection.contrast import contrast
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import uncertainty
from depth_retrofit_ros.sparse.pixel_set import PixelSet


class Selector(Protocol):
    """Which pixels of a frame are refined."""

    def score(self, coarse: CoarsePrediction, image: torch.Tensor) -> torch.Tensor:
        """How uncertain each coarse pixel is, ``float32 [h, w]``; image: the frame ``uint8 [H, W, 3]``."""
        ...

    def choose(self, score: torch.Tensor, size: tuple[int, int], budget: float) -> PixelSet:
        """Pixels of a frame of ``size = (H, W)``, none at budget 0; score: see there; budget: share of the frame's pixels."""
        ...


class Ranked:
    """The budget's share of the pixels, those with the highest uncertainty: a fixed number, without waiting for a device."""

    def score(self, coarse: CoarsePrediction, image: torch.Tensor) -> torch.Tensor:
        """See ``Selector.score``."""
        return uncertainty(coarse, contrast(image, (coarse.depth.shape[0], coarse.depth.shape[1])))

    def choose(self, score: torch.Tensor, size: tuple[int, int], budget: float) -> PixelSet:
        """See ``Selector.choose``."""
        return select_top(score, size, count=round(budget * size[0] * size[1]))
