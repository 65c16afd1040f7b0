"""Upsampling along the frame's edges: against its plain specification, a known edge, planes, holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_retrofit_ros.evaluation.baselines.guided_filter import guided_filter
from depth_retrofit_ros.upsampling.edge_aware import (
    CHANNELS,
    RIDGE,
    STEPS,
    WEIGHT,
    _mean_fit,
    guided_depth,
    guided_maps,
    guided_upsample,
    thumbnail,
    upsample_by_torch,
    usual_kink,
)
from depth_retrofit_ros.upsampling.interpolation import sample_at, upsample

H, W, RATIO = 12, 16, 10
SIZE = (H * RATIO, W * RATIO)


def step_frame(near: float = 2.0, far: float = 6.0, column: int = 77) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """image ``[H, W, 3]``, true depth, and its average over coarse pixels: two flat walls of two colours."""
    truth = torch.full(SIZE, far)
    truth[:, :column] = near
    image = torch.full((*SIZE, 3), 40, dtype=torch.uint8)
    image[:, :column] = torch.tensor([200, 120, 60], dtype=torch.uint8)
    coarse = truth.log().view(H, RATIO, W, RATIO).mean((1, 3)).exp()
    return image, truth, coarse


def random_frame(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Image of random colours and a coarse depth of four levels."""
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (24, 32, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    depth = np.kron(rng.permutation([1.0, 2.0, 4.0, 7.0]).reshape(2, 2), np.ones((H // 2, W // 2)))
    return torch.from_numpy(image), torch.from_numpy(depth.astype(np.float32))


def test_a_smeared_step_becomes_the_true_one() -> None:
    image, truth, coarse = step_frame()
    got = guided_upsample(coarse, image, thumbnail(image, coarse))
    plain = upsample(coarse, SIZE)
    assert float((got / truth).log().abs().mean()) < 0.25 * float((plain / truth).log().abs().mean())
    row = got[60]
    assert float(row[77] / row[76]) > 2  # the jump is between these two pixels


def test_texture_without_a_step_changes_nothing() -> None:
    image, _ = random_frame()
    depth = 1 / (0.3 + 0.001 * torch.arange(W).float().expand(H, W))  # a plane
    assert torch.equal(guided_maps(depth, thumbnail(image, depth), usual_kink(depth))[..., WEIGHT], torch.zeros(H, W))
    torch.testing.assert_close(guided_upsample(depth, image, thumbnail(image, depth)), upsample(depth, SIZE), rtol=1e-5, atol=0)


def test_texture_on_a_steep_plane_changes_nothing() -> None:
    """A floor that recedes spreads over 3×3 coarse pixels as an edge does, but is no edge."""
    image, _ = random_frame()
    depth = 1 / (0.1 + 0.03 * torch.arange(H).float()[:, None].expand(H, W))
    assert float((depth[:-2] / depth[2:]).log().max()) > STEPS[1]
    assert torch.equal(guided_maps(depth, thumbnail(image, depth), usual_kink(depth))[..., WEIGHT], torch.zeros(H, W))


@pytest.mark.parametrize(("noise", "most"), [(0.003, 0.002), (0.01, 0.01)])
def test_texture_on_a_noisy_plane_hardly_matters(noise: float, most: float) -> None:
    image, _ = random_frame()
    depth = 1 / (0.1 + 0.03 * torch.arange(H).float()[:, None].expand(H, W))
    depth = depth * torch.exp(noise * torch.randn(H, W, generator=torch.Generator().manual_seed(0)))
    got, plain = guided_upsample(depth, image, thumbnail(image, depth)), upsample(depth, SIZE)
    assert float((got / plain - 1).abs().mean()) < most


def test_no_depth_that_is_not_near() -> None:
    image, depth = random_frame()
    got = guided_upsample(depth, image, thumbnail(image, depth))
    around = torch.nn.functional.pad(depth[None, None], (2, 2, 2, 2), mode="replicate")
    highest = upsample(torch.nn.functional.max_pool2d(around, 5, 1)[0, 0], SIZE, "nearest")
    lowest = upsample(-torch.nn.functional.max_pool2d(-around, 5, 1)[0, 0], SIZE, "nearest")
    assert bool((got <= highest * 1.0001).all()) and bool((got >= lowest * 0.9999).all())


@pytest.mark.parametrize("seed", range(3))
def test_compiled_kernel_equals_the_specification(seed: int) -> None:
    image, depth = random_frame(seed)
    small = thumbnail(image, depth)
    maps = guided_maps(depth, small, usual_kink(depth))
    assert maps.shape == (H, W, CHANNELS) and float(maps[..., WEIGHT].max()) == 1.0
    sampled = sample_at(maps, torch.arange(image.shape[0] * image.shape[1]), SIZE)
    wanted = guided_depth(sampled, image.view(-1, 3)).view(SIZE)
    torch.testing.assert_close(guided_upsample(depth, image, small), wanted, rtol=2e-5, atol=0)
    torch.testing.assert_close(upsample_by_torch(maps, image), wanted, rtol=2e-5, atol=0)


@pytest.mark.parametrize("factor", [1e-3, 0.3, 1e3])
def test_scale_of_depth_is_kept(factor: float) -> None:
    image, depth = random_frame()
    small = thumbnail(image, depth)
    wanted = factor * guided_upsample(depth, image, small)
    torch.testing.assert_close(guided_upsample(factor * depth, image, small), wanted, rtol=1e-4, atol=0)


def test_the_fit_is_the_guided_filters() -> None:
    """Against the independent implementation that the evaluation has of its baseline."""
    image, depth = random_frame()
    small = thumbnail(image, depth)
    fit = _mean_fit(small, depth.log())
    got = (fit[..., :3] * small).sum(-1) + fit[..., 3]
    np.testing.assert_allclose(got.numpy(), guided_filter(small.numpy(), depth.log().numpy(), 1, RIDGE), atol=2e-4)


def test_a_broken_coarse_pixel_is_a_hole_and_nothing_more() -> None:
    image, depth = random_frame()
    depth[6, 8] = torch.nan
    got = guided_upsample(depth, image, thumbnail(image, depth))
    hole = torch.isnan(got)
    assert bool(hole[65:69, 85:89].all())
    assert torch.equal(hole, torch.isnan(upsample(depth, SIZE)))
    known = depth[torch.isfinite(depth)]
    assert float(got[~hole].min()) > 0.999 * float(known.min()) and float(got[~hole].max()) < 1.001 * float(known.max())
    scaled = guided_upsample(1000 * depth, image, thumbnail(image, depth))
    torch.testing.assert_close(scaled[~hole], 1000 * got[~hole], rtol=1e-4, atol=0)
