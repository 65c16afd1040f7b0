"""Surfaces that no cell shows, on things whose coverage of the cells is known; and the compiled pass."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from depth_retrofit_ros.refinement.pixels import mixtures
from depth_retrofit_ros.refinement.pixels.mixtures import (
    CHANNELS,
    COUNT,
    LEAST_SHARE,
    OVERSHOOT,
    REACH,
    WINDOWS,
    mixture_candidates,
    mixture_maps,
    mixture_maps_by_torch,
)

LINE, WALL = torch.tensor([-1.2, 0.3, 0.9]), torch.tensor([0.8, 0.6, -0.4])
NEAR, FAR = 1 / 1.5, 1 / 6.0  # inverse depth, 1/m
NEAREST, OVERSHOT, FARTHEST = range(len(WINDOWS), COUNT)
CELL = (6, 8)  # on the line
WIDEST = max(REACH, *(max(side // 2, reach) for side, reach in WINDOWS))


def line_before_a_wall(share: float, line: torch.Tensor = LINE) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth ``[h, w]`` and colours ``[h, w, 3]`` of cells of which column 8 is covered to this share."""
    covered = torch.zeros(13, 17)
    covered[:, CELL[1]] = share
    return (FAR + covered * (NEAR - FAR)).reciprocal(), WALL + covered[..., None] * (line - WALL)


def candidates_on_the_line(share: float, pixel: torch.Tensor, line: torch.Tensor = LINE) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth [m] of the candidates of a pixel of that colour, and their distances, both ``[COUNT]``."""
    cell = mixture_maps(*line_before_a_wall(share, line))[CELL][None]
    log_depth = torch.tensor([0.7])
    ratio, distance = mixture_candidates(pixel[None], cell, log_depth)
    return (ratio + log_depth[:, None]).exp()[0], distance[0]


@pytest.mark.parametrize(("share", "exact"), [(0.3, (0,)), (0.5, (0, 1)), (0.8, (0, 1)), (1.0, (0, 1))])
def test_a_thin_line_is_unmixed_to_its_own_depth(share: float, exact: tuple[int, ...]) -> None:
    """Whatever share of the cell it covers: its pixel's colour tells how much of the mean is the line, as long as that is not less
    than a tenth of a window."""
    depth, distance = candidates_on_the_line(share, LINE)
    for k in exact:
        assert float(depth[k]) == pytest.approx(1 / NEAR, rel=1e-4)
        assert float(distance[k]) == pytest.approx(0, abs=1e-5)
    assert float(depth[FARTHEST]) == pytest.approx(1 / FAR, rel=1e-5)
    seen = FAR + share * (NEAR - FAR)
    assert float(depth[NEAREST]) == pytest.approx(1 / seen, rel=1e-5)
    assert float(depth[OVERSHOT]) == pytest.approx(1 / (FAR + OVERSHOOT * (seen - FAR)), rel=1e-5)


def test_distances_say_how_far_the_colour_is_from_the_mix() -> None:
    """A pixel of a third colour: what of the mean does not lie between it and the wall."""
    pixel = torch.tensor([0.9, -1.5, 0.2])
    depth, distance = candidates_on_the_line(0.8, pixel)
    for k, (side, _) in enumerate(WINDOWS):
        own, other = (pixel - WALL).double(), (0.8 / side * (LINE - WALL)).double()
        share = float(np.clip(float(own @ other / (own @ own)), LEAST_SHARE, 1))
        assert float(distance[k]) == pytest.approx(float((other - share * own).abs().mean()), rel=1e-4)
        assert float(depth[k]) == pytest.approx(1 / (FAR + 0.8 / side * (NEAR - FAR) / share), rel=1e-4)
    cell = WALL + 0.8 * (LINE - WALL)
    assert distance[NEAREST] == distance[OVERSHOT] == pytest.approx(float((cell - pixel).abs().mean()), rel=1e-5)
    assert float(distance[FARTHEST]) == pytest.approx(float((WALL - pixel).abs().mean()), rel=1e-5)


def test_a_pixel_of_the_backgrounds_colour_is_no_mixture() -> None:
    """All of the mean's own colour speaks against it, and the candidate is bounded by the least share."""
    depth, distance = candidates_on_the_line(0.6, WALL)
    for k, (side, _) in enumerate(WINDOWS):
        assert float(depth[k]) == pytest.approx(1 / (FAR + 0.6 / side * (NEAR - FAR) / LEAST_SHARE), rel=1e-4)
        assert float(distance[k]) == pytest.approx(float((0.6 / side * (LINE - WALL)).abs().mean()), rel=1e-4)
    assert float(distance[FARTHEST]) == pytest.approx(0, abs=1e-6)


def test_a_thing_of_the_backgrounds_colour_is_told_by_the_extremes_alone() -> None:
    """Nothing is known of its share: the mixtures are at their bound, the others as ever."""
    hidden, plain = candidates_on_the_line(0.6, WALL, line=WALL)
    shown, _ = candidates_on_the_line(0.6, LINE)
    for k, (side, _) in enumerate(WINDOWS):
        assert float(hidden[k]) == pytest.approx(1 / (FAR + 0.6 / side * (NEAR - FAR) / LEAST_SHARE), rel=1e-4)
    torch.testing.assert_close(hidden[len(WINDOWS) :], shown[len(WINDOWS) :])
    assert float(plain.abs().max()) < 1e-6


def test_on_one_plain_surface_all_are_that_surface() -> None:
    depth, image = torch.full((7, 9), 3.0), torch.randn(7, 9, 3)
    cells = mixture_maps(depth, image).view(-1, CHANNELS)
    ratio, _ = mixture_candidates(torch.randn(63, 3), cells, torch.full((63,), math.log(3)))
    assert float(ratio.abs().max()) < 1e-5


@pytest.mark.parametrize("factor", [1e-6, 0.3, 7.0, 1e6])
def test_unit_of_depth_does_not_matter(factor: float) -> None:
    depth, image, rgb = 1 + 3 * torch.rand(9, 11), torch.randn(9, 11, 3), torch.randn(99, 3)
    log = depth.log().flatten()
    of = [mixture_candidates(rgb, mixture_maps(depth * f, image).view(-1, CHANNELS), log + math.log(f)) for f in (1.0, factor)]
    torch.testing.assert_close(of[1][0], of[0][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(of[1][1], of[0][1], atol=1e-6, rtol=0)


def test_mirror_with_the_image() -> None:
    depth, image = 1 + 3 * torch.rand(9, 11), torch.randn(9, 11, 3)
    for axis in (0, 1):
        mirrored = mixture_maps(depth.flip(axis), image.flip(axis))
        torch.testing.assert_close(mirrored, mixture_maps(depth, image).flip(axis), atol=2e-6, rtol=0)


def test_extremes_by_definition_and_the_first_of_equals_in_reading_order() -> None:
    depth, image = torch.randint(1, 4, (9, 11)).float(), torch.randn(9, 11, 3)
    maps = mixture_maps(depth, image)
    for y, x in np.ndindex(9, 11):
        around = [
            (min(max(y + dy, 0), 8), min(max(x + dx, 0), 10)) for dy in range(-REACH, REACH + 1) for dx in range(-REACH, REACH + 1)
        ]
        near, far = min(around, key=lambda at: float(depth[at])), max(around, key=lambda at: float(depth[at]))
        wanted = torch.cat([depth[near].log()[None], image[near], depth[far].log()[None], image[far]])
        torch.testing.assert_close(maps[y, x, 8 * len(WINDOWS) : -1], wanted)


def compare(size: tuple[int, int], depth: torch.Tensor | None = None) -> None:
    """The compiled pass and the specification on random maps."""
    depth = torch.exp(torch.randn(size)) if depth is None else depth
    image = torch.randn(*size, 3)
    got, wanted = mixture_maps(depth, image), mixture_maps_by_torch(depth, image)
    assert got.shape == wanted.shape
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("size", [(18, 24), (1, 1), (1, 9), (7, 2), (31, 17)])
def test_compiled_pass_equals_the_specification(size: tuple[int, int]) -> None:
    compare(size)
    compare(size, torch.randint(1, 4, size).float())  # ties
    compare(size, torch.where(torch.rand(size) < 0.1, torch.nan, torch.exp(torch.randn(size))))


@pytest.mark.parametrize(("windows", "reach"), [(((3, 1),), 2), (((7, 1), (3, 4), (1, 2)), 1), (((5, 2), (5, 3)), 5)])
def test_compiled_pass_follows_the_windows(
    windows: tuple[tuple[int, int], ...], reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is written into the kernel, where the cache of compiled kernels would keep it when it changes."""
    monkeypatch.setattr(mixtures, "WINDOWS", windows)
    monkeypatch.setattr(mixtures, "REACH", reach)
    monkeypatch.setattr(mixtures, "OVERSHOOT", 1.7)
    monkeypatch.setattr(mixtures, "CHANNELS", 8 * len(windows) + 9)
    compare((18, 24))
    compare((18, 24), torch.randint(1, 4, (18, 24)).float())


@pytest.mark.parametrize("of", [mixture_maps, mixture_maps_by_torch])
def test_an_unknown_cell_stays_local(of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    depth, image = 1 + torch.rand(15, 17), torch.randn(15, 17, 3)
    whole = of(depth, image)
    depth[7, 8] = torch.nan
    broken = of(depth, image)
    beside = torch.ones(15, 17, dtype=torch.bool)
    beside[7 - WIDEST : 8 + WIDEST, 8 - WIDEST : 9 + WIDEST] = False
    assert torch.equal(broken[beside], whole[beside])
    assert bool(broken[6:9, 7:10, 4].isnan().all()), "its mean is unknown, and with it the mixture"


def test_nothing_known_is_nothing_known() -> None:
    maps = mixture_maps(torch.full((5, 6), torch.nan), torch.randn(5, 6, 3))
    ratio, _ = mixture_candidates(torch.randn(30, 3), maps.view(-1, CHANNELS), torch.zeros(30))
    assert bool(ratio.isnan().all())


@pytest.mark.cuda
def test_on_cuda_it_is_the_same() -> None:
    depth, image = torch.exp(torch.randn(18, 24)), torch.randn(18, 24, 3)
    torch.testing.assert_close(mixture_maps(depth.cuda(), image.cuda()).cpu(), mixture_maps(depth, image), atol=1e-5, rtol=1e-5)
