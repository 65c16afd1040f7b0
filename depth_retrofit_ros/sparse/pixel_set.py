"""The active pixels of a frame, as a list and as an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class PixelSet:
    """K active pixels of an ``H x W`` image.

    indices: ``int64 [K]`` flat indices, strictly increasing (row-major order).
    index_image: ``int32 [H, W]``, position in ``indices`` of each active pixel, −1 where inactive. In 2-D this image *is* the hash
    table of a sparse convolution: a neighbour is one look-up away.
    left_out: how many more pixels a selection wanted, of those that a bound on their number left out.
    """

    indices: torch.Tensor
    index_image: torch.Tensor
    left_out: int = 0

    @classmethod
    def from_mask(cls, mask: torch.Tensor) -> PixelSet:
        """From a bool [H, W] mask."""
        return cls.from_indices(mask.flatten().nonzero().squeeze(1), (mask.shape[0], mask.shape[1]))

    @classmethod
    def from_indices(cls, indices: torch.Tensor, size: tuple[int, int]) -> PixelSet:
        """From sorted unique flat indices ``int64 [K]`` into an image of ``size = (H, W)``."""
        index_image = torch.full((size[0] * size[1],), -1, dtype=torch.int32, device=indices.device)
        index_image[indices] = torch.arange(indices.numel(), dtype=torch.int32, device=indices.device)
        return cls(indices, index_image.view(size))

    @property
    def count(self) -> int:
        """K, the number of active pixels."""
        return self.indices.numel()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image that the pixels belong to."""
        return self.index_image.shape[0], self.index_image.shape[1]

    def mask(self) -> torch.Tensor:
        """bool [H, W], true at the active pixels."""
        return self.index_image >= 0
