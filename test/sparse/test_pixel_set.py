"""The list and the index image say the same."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.sparse.pixel_set import PixelSet


def test_by_hand() -> None:
    pixels = PixelSet.from_mask(torch.tensor([[False, True, False], [True, False, True]]))
    assert pixels.indices.tolist() == [1, 3, 5]
    assert pixels.index_image.tolist() == [[-1, 0, -1], [1, -1, 2]]
    assert (pixels.count, pixels.size) == (3, (2, 3))
    assert pixels.indices.dtype == torch.int64
    assert pixels.index_image.dtype == torch.int32


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_mask_and_indices_are_inverse(share: float) -> None:
    mask = torch.rand(17, 23) < share
    pixels = PixelSet.from_mask(mask)
    assert torch.equal(pixels.mask(), mask)
    assert pixels.count == int(mask.sum())
    again = PixelSet.from_indices(pixels.indices, (17, 23))
    assert torch.equal(again.index_image, pixels.index_image)
    assert torch.equal(pixels.index_image.flatten()[pixels.indices].long(), torch.arange(pixels.count))
    assert bool((pixels.indices.diff() > 0).all())
