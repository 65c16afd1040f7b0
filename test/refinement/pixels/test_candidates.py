"""Candidates on scenes whose surfaces are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_retrofit_ros.refinement.pixels.candidates import (
    MARGIN,
    MAX_LOG_RATIO,
    OFFSETS,
    SURFACES,
    candidate_colors,
    candidate_maps,
)
from depth_retrofit_ros.upsampling.interpolation import sample_at, upsample

H, W = 24, 32


def inverse_depth_plane(constant: float, per_row: float, per_column: float, size: tuple[int, int] = (H, W)) -> torch.Tensor:
    """Inverse depth of a plane in space: affine in image coordinates, float64 [h, w]."""
    y, x = torch.meshgrid(torch.arange(size[0]).double(), torch.arange(size[1]).double(), indexing="ij")
    return constant + per_row * y + per_column * x


NEAR = inverse_depth_plane(0.8, 0.006, -0.004)
FAR = inverse_depth_plane(0.25, -0.002, 0.003)


def test_offsets_are_symmetric_and_distinct() -> None:
    """A mirrored image then has mirrored candidates, and none twice."""
    assert len(set(OFFSETS)) == len(OFFSETS) == SURFACES - 2
    assert (0, 0) not in OFFSETS
    for dy, dx in OFFSETS:
        assert {(dy, -dx), (-dy, dx), (-dy, -dx), (dx, dy)} <= set(OFFSETS)


def test_on_a_plane_every_candidate_is_the_plane() -> None:
    maps = candidate_maps(NEAR.reciprocal().float())
    assert maps.shape == (H, W, SURFACES)
    inside = maps[MARGIN + 1 : -MARGIN - 1, MARGIN + 1 : -MARGIN - 1]
    assert inside.numel() and float(inside.abs().max()) < 1e-5


def test_on_a_plane_every_candidate_is_the_plane_at_full_resolution() -> None:
    """After planar upsampling of the depth and bilinear sampling of the candidates, as the refiner sees them."""
    size = (10 * H, 10 * W)
    maps, depth = candidate_maps(NEAR.reciprocal().float()), NEAR.reciprocal().float()
    rows, columns = torch.meshgrid(torch.arange(70, size[0] - 70, 7), torch.arange(70, size[1] - 70, 3), indexing="ij")
    pixels = (rows * size[1] + columns).flatten()
    sampled = sample_at(torch.cat([maps, depth.log()[..., None]], -1), pixels, size)
    fine = upsample(depth, size).flatten()[pixels]
    log_candidates = sampled[:, 1:SURFACES] + sampled[:, SURFACES:]
    plane_y, plane_x = (rows.flatten() + 0.5) / 10 - 0.5, (columns.flatten() + 0.5) / 10 - 0.5
    truth = -(0.8 + 0.006 * plane_y.double() - 0.004 * plane_x.double()).log()
    torch.testing.assert_close(fine.log().double(), truth, atol=1e-5, rtol=0)
    # Between coarse centres ln is interpolated, which is off by (relative slope)² / 8: 1.2 % per coarse pixel here.
    torch.testing.assert_close(log_candidates.double(), truth[:, None].expand(-1, SURFACES - 1), atol=2e-5, rtol=0)


@pytest.mark.parametrize("column", range(14, 18))
def test_beside_a_step_both_surfaces_are_among_the_candidates(column: int) -> None:
    """The edge between two slanted planes runs before column 16; 5 coarse pixels reach across it from 4 columns away."""
    edge = 16
    left = torch.arange(W)[None] < edge
    maps = candidate_maps(torch.where(left, NEAR, FAR).reciprocal().float()).double()
    here, other = (NEAR, FAR) if column < edge else (FAR, NEAR)
    for row in range(MARGIN + 1, H - MARGIN - 1):
        to_other = float((here[row, column] / other[row, column]).log())
        candidates = maps[row, column]
        assert float(candidates[1:].abs().min()) < 1e-5
        assert float((candidates - to_other).abs().min()) < 1e-5


def test_a_blurred_step_still_offers_both_surfaces() -> None:
    """Two columns between the planes hold their mean, as a coarse model draws it; the candidates reach over them."""
    inverse = torch.where(torch.arange(W)[None] < 16, NEAR, FAR)
    inverse[:, 15:17] = (NEAR + FAR)[:, 15:17] / 2
    maps = candidate_maps(inverse.reciprocal().float()).double()
    for column in (15, 16):
        for surface in (NEAR, FAR):
            wanted = (inverse / surface).log()[MARGIN + 1 : -MARGIN - 1, column]
            nearest = (maps[MARGIN + 1 : -MARGIN - 1, column] - wanted[:, None]).abs().amin(1)
            assert float(nearest.max()) < 1e-5


@pytest.mark.parametrize("factor", [1e-24, 1e-3, 7.0, 1e3, 1e24])
def test_unit_of_depth_does_not_matter(factor: float) -> None:
    depth = 1 + 3 * torch.rand(H, W)
    torch.testing.assert_close(candidate_maps(depth * factor), candidate_maps(depth), atol=2e-5, rtol=0)


def test_first_candidate_stays_and_all_are_bounded() -> None:
    depth = torch.exp(3 * torch.randn(H, W))
    maps = candidate_maps(depth)
    assert bool((maps[..., 0] == 0).all())
    assert bool(torch.isfinite(maps).all()) and float(maps.abs().max()) <= MAX_LOG_RATIO


def test_candidates_mirror_with_the_image() -> None:
    depth = 1 + 3 * torch.rand(H, W)
    swap = [0, *(1 + OFFSETS.index((dy, -dx)) for dy, dx in OFFSETS), SURFACES - 1]
    torch.testing.assert_close(candidate_maps(depth.flip(1)), candidate_maps(depth).flip(1)[..., swap], atol=2e-6, rtol=0)


def test_candidate_by_hand() -> None:
    """Inverse depth 1, 1, 1, 2, 3, 4, … along the row: three columns to the right lies a slope of 1, carried back to 1 − … = 1."""
    inverse = torch.tensor([1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expand(3, 8)
    maps = candidate_maps(inverse.reciprocal())
    right = 1 + OFFSETS.index((0, 3))
    # From column 3 (inverse 2): column 6 has 5 and the slope 1, so 5 − 3·1 = 2, but no more than a factor 2 is allowed: 2.5.
    assert float(maps[1, 3, right]) == pytest.approx(math.log(2.0 / 2.5), abs=1e-6)
    # From column 1 (inverse 1): column 4 has 3 and the slope 1: 3 − 3 = 0, bounded to 1.5.
    assert float(maps[1, 1, right]) == pytest.approx(math.log(1.0 / 1.5), abs=1e-6)
    # From column 0 (inverse 1): column 3 has 2; to its left and right the slope is 1: 2 − 3 = −1, bounded to 1.
    assert float(maps[1, 0, right]) == pytest.approx(0.0, abs=1e-6)


def test_colors_are_those_of_the_coarse_pixels_that_candidates_come_from() -> None:
    image = torch.rand(9, 11, 3)
    colors = candidate_colors(image).numpy()
    padded = np.pad(image.numpy(), ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    assert colors.shape == (9, 11, 3, SURFACES)
    rows, columns = np.mgrid[:9, :11] + MARGIN
    for i, (dy, dx) in enumerate(((0, 0), *OFFSETS)):
        np.testing.assert_array_equal(colors[..., i], padded[rows + dy, columns + dx])
