"""The benchmark's active sets: exactly as many as asked for, in bands, the same each time."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.bench.masks import edge_mask
from depth_retrofit_ros.sparse.kernel_map import coarsen, neighbor_map
from depth_retrofit_ros.sparse.pixel_set import PixelSet


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("size", [(90, 160), (91, 157)])
def test_exactly_the_share(size: tuple[int, int], share: float) -> None:
    mask = edge_mask(size, share)
    assert tuple(mask.shape) == size and mask.dtype == torch.bool
    assert int(mask.sum()) == round(share * size[0] * size[1])
    assert torch.equal(mask, edge_mask(size, share))


def test_another_seed_is_another_mask() -> None:
    assert not torch.equal(edge_mask((90, 160), 0.1), edge_mask((90, 160), 0.1, seed=1))


def test_it_is_of_bands_that_thin_out_down_the_pyramid() -> None:
    pixels = PixelSet.from_mask(edge_mask((720, 1280), 0.1))
    present = float((neighbor_map(pixels) < pixels.count).float().mean())
    kept = coarsen(pixels).pixels.count / pixels.count
    assert 0.65 < present < 0.95 and 0.27 < kept < 0.45  # random pixels: about 0.2 and 0.86; a solid square: 1 and 0.25
