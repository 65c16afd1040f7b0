"""The median over neighbours of like colour: the compiled pass against plain torch, and what it is for."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.refinement.pixels.median import POOL, color_median, color_median_by_torch
from depth_retrofit_ros.sparse.pixel_set import PixelSet

SIZES = ((40, 37), (5, 9), (1, 40), (33, 1), (48, 200))


def scene(size: tuple[int, int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, PixelSet]:
    """Depth with holes, an image of few colours, and half of the pixels, all at the border among them."""
    generator = torch.Generator().manual_seed(seed)
    depth = (torch.randn(size, generator=generator)).exp()
    depth[torch.rand(size, generator=generator) < 0.03] = torch.nan
    depth[torch.rand(size, generator=generator) < 0.01] = torch.inf
    image = (torch.rand(*size, 3, generator=generator) * 4).floor().mul(18).byte()
    chosen = torch.rand(size, generator=generator) < 0.5
    chosen[0], chosen[-1], chosen[:, 0], chosen[:, -1] = True, True, True, True
    return depth, image, PixelSet.from_mask(chosen)


@pytest.mark.parametrize("size", SIZES)
def test_the_compiled_pass_is_the_specification(size: tuple[int, int]) -> None:
    depth, image, pixels = scene(size)
    got, wanted = color_median(depth, image, pixels), color_median_by_torch(depth, image, pixels.indices)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(got.isfinite(), depth.flatten()[pixels.indices].isfinite())


def test_threads_share_the_work() -> None:
    depth, image, pixels = scene((160, 190))
    wanted, threads = color_median(depth, image, pixels).clone(), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        got = color_median(depth, image, pixels)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(got.nan_to_num(-1), wanted.nan_to_num(-1))


def test_a_pixel_that_chose_otherwise_than_its_kind_follows_it_and_an_edge_stays() -> None:
    """Two colours, each with its depth, one in ten of the pixels with the other's: none is left, and none lies between the two."""
    generator = torch.Generator().manual_seed(3)
    left = torch.arange(60).expand(40, 60) < 30
    image = torch.where(left[..., None], torch.tensor([200, 90, 40]), torch.tensor([90, 120, 140])).byte()
    image += torch.randint(0, 6, image.shape, generator=generator, dtype=torch.uint8)  # a sensor's noise
    truth = torch.where(left, 2.0, 5.0)
    wrong = torch.rand(truth.shape, generator=generator) < 0.1
    depth = torch.where(wrong, 7.0 - truth, truth)
    pixels = PixelSet.from_mask(torch.ones_like(wrong))
    assert torch.equal(color_median(depth, image, pixels).view_as(truth), truth)


def test_a_line_of_its_own_color_one_pixel_wide_stays() -> None:
    image, depth = torch.full((21, 21, 3), 120, dtype=torch.uint8), torch.full((21, 21), 6.0)
    image[:, 10], depth[:, 10] = 30, 1.5
    assert torch.equal(color_median(depth, image, PixelSet.from_mask(torch.ones(21, 21, dtype=torch.bool))).view(21, 21), depth)


def test_it_is_a_median_by_weight() -> None:
    """Three of a colour a little off, at (1 − 3 · 20² / 40²)² = 1/16 each, do not outvote the pixel itself; 17 do."""
    for others, wanted in ((3, 1.0), (17, 4.0)):
        image, depth = torch.zeros(7, 7, 3, dtype=torch.uint8), torch.full((7, 7), 4.0)
        image[:] = 255
        image.view(-1, 3)[:others] = 20
        image[3, 3], depth[3, 3] = 0, 1.0
        got = color_median(depth, image, PixelSet.from_indices(torch.tensor([24]), (7, 7)))
        assert got.item() == wanted


def test_the_unit_of_depth_does_not_matter() -> None:
    depth, image, pixels = scene((40, 60))
    plain, scaled = color_median(depth, image, pixels).clone(), color_median(1024 * depth, image, pixels)
    assert torch.equal((1024 * plain).nan_to_num(-1, -1), scaled.nan_to_num(-1, -1))


def test_budgets_that_change_leave_no_memory_behind() -> None:
    depth, image, _ = scene((200, 300))
    for count in (60_000, 20_000, 5_000, 1_000, 1_000):
        color_median(depth, image, PixelSet.from_indices(torch.arange(count), (200, 300)))
    assert POOL.reserved_bytes < 4 * 5_000


def test_no_pixel_is_no_work() -> None:
    depth, image, _ = scene((8, 8))
    none = PixelSet.from_mask(torch.zeros(8, 8, dtype=torch.bool))
    assert color_median(depth, image, none).shape == (0,) and color_median_by_torch(depth, image, none.indices).shape == (0,)
