"""A tile's region of a coarse map is what the whole upsampled map shows there."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.refinement.tiles.layout import TileLayout, cut
from depth_retrofit_ros.refinement.tiles.regions import regions
from depth_retrofit_ros.upsampling.interpolation import bilinear


@pytest.mark.parametrize("low", [(9, 16), (36, 64), (40, 23)])
def test_at_one_sample_a_pixel_it_is_the_upsampled_map(low: tuple[int, int]) -> None:
    layout = TileLayout((144, 256), 64, 16)
    maps = torch.rand(3, *low, generator=torch.Generator().manual_seed(0))
    origins = layout.origins(torch.arange(layout.total))
    expected = cut(bilinear(maps, layout.size).permute(1, 2, 0), origins, 64).permute(0, 3, 1, 2)
    torch.testing.assert_close(regions(maps, origins, 64, layout.size, 64), expected, rtol=0, atol=2e-5)


def test_coarser_samples_lie_in_the_middle_of_their_pixels() -> None:
    ramp = torch.arange(256.0).expand(144, 256)[None]  # as many cells as pixels: a cell's value is its column
    origins = torch.tensor([[0, 0], [16, 100]])
    sampled = regions(ramp, origins, 64, (144, 256), 16)
    expected = origins[:, 1, None] + torch.arange(16) * 4 + 1.5
    torch.testing.assert_close(sampled[:, 0], expected[:, None, :].expand(-1, 16, -1), rtol=0, atol=1e-3)
