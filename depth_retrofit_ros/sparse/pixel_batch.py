"""Several images as one pixel set, so that a training batch is one call of the sparse network."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from depth_retrofit_ros.sparse.pixel_set import PixelSet


@dataclass(frozen=True, slots=True)
class PixelBatch:
    """The active pixels of B images of H x W, stacked from top to bottom with empty rows between them.

    pixels: the K active pixels of all images, image by image, in the tall image. source: ``int64 [K]``, each one's flat index into
    ``[B, H, W]``, strictly increasing. size: (B, H, W).
    """

    pixels: PixelSet
    source: torch.Tensor
    size: tuple[int, int, int]

    def image_number(self) -> torch.Tensor:
        """``int64 [K]``: which of the B images each active pixel belongs to."""
        return self.source // (self.size[1] * self.size[2])

    def gather(self, images: torch.Tensor) -> torch.Tensor:
        """The values of ``images [B, C, H, W]`` at the active pixels, ``[K, C]``."""
        image = self.image_number()
        return images.flatten(2)[image, :, self.source - image * (self.size[1] * self.size[2])]

    def scatter(self, values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """A copy of ``images [B, C, H, W]`` with ``values [K, C]`` at the active pixels."""
        channels_last = images.permute(0, 2, 3, 1)
        filled = channels_last.reshape(-1, values.shape[1]).index_copy(0, self.source, values)
        return filled.view(channels_last.shape).permute(0, 3, 1, 2)


def stack_masks(masks: torch.Tensor, levels: int) -> PixelBatch:
    """Stack ``bool [B, H, W]`` masks for a pyramid of ``levels`` levels.

    Each image gets a height that the coarsest cell divides, and at least one empty row of such cells: at every level, cells begin
    where they would in the image alone, and no 3x3 kernel reaches the next image.
    """
    batch, height, width = masks.shape
    cell = 1 << (levels - 1)
    slot_height = cell * (-(-height // cell) + 1)
    tall = masks.new_zeros(batch, slot_height, width)
    tall[:, :height] = masks
    return PixelBatch(PixelSet.from_mask(tall.flatten(0, 1)), masks.flatten().nonzero().squeeze(1), (batch, height, width))
