"""The surfaces nearby, and the choice among them."""

from __future__ import annotations

import math

import pytest
import torch

from depth_retrofit_ros.refinement.pixels.features import CENTER, SPREAD
from depth_retrofit_ros.refinement.tiles.surfaces import COUNT, FARTHEST, SHOWN, STAY, choice, nearby, surfaces


def test_they_are_the_nearest_and_the_farthest_cells_around() -> None:
    depth = torch.full((9, 9), 4.0)
    depth[4, 4], depth[4, 6] = 1.0, 16.0
    found = surfaces(depth, torch.zeros(9, 9, 3))
    assert found.shape == (SHOWN, 9, 9)
    near_1, near_2, far_1, far_2 = (float(value) for value in found[:COUNT, 4, 5])
    assert near_1 == near_2 == pytest.approx(math.log(1 / 4)) and far_1 == far_2 == pytest.approx(math.log(4))
    assert found[:COUNT, 4, 3].tolist() == pytest.approx([math.log(1 / 4)] * 2 + [0.0, 0.0])
    assert found[:COUNT, 6, 4].tolist() == pytest.approx([0.0, math.log(1 / 4), 0.0, math.log(4)])


def test_scale_changes_nothing() -> None:
    depth = torch.rand(7, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    small = torch.rand(7, 8, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(surfaces(37 * depth, small), surfaces(depth, small))


def test_cells_that_are_not_known_are_passed_over() -> None:
    depth = torch.full((6, 6), 2.0)
    depth[2, 2], depth[3, 3] = torch.nan, 0.5
    found = surfaces(depth, torch.zeros(6, 6, 3))
    assert bool(found.isfinite().all())
    assert float(found[0, 2, 2]) == pytest.approx(math.log(0.25)) and float(found[2, 2, 2]) == pytest.approx(0.0)
    assert not surfaces(torch.full((4, 4), torch.nan), torch.zeros(4, 4, 3))[:COUNT].any()


def test_a_network_that_says_nothing_nearly_stays_and_one_that_is_sure_takes_the_surface() -> None:
    level = torch.zeros(1, 1, 4, 4)
    shown = torch.tensor([-1.0, -1.0, 0.5, 9.0, *(0.0,) * (SHOWN - COUNT)]).view(1, SHOWN, 1, 1).expand(1, SHOWN, 4, 4)
    offsets = nearby(shown, level, torch.zeros(1, 3, 4, 4)).offsets
    assert float(offsets[0, 3, 0, 0]) == FARTHEST
    said = torch.zeros(1, 1 + COUNT, 4, 4)
    share = 1 / (COUNT + math.exp(STAY))
    assert choice(said, offsets).mean()[0, 0, 0] == pytest.approx(share * (-2 + 0.5 + FARTHEST), rel=1e-5)
    said[:, 3], said[:, 0] = 30.0, 0.01
    assert choice(said, offsets).mean()[0, 0, 0] == pytest.approx(0.51, rel=1e-5)


def test_a_pixel_is_like_the_side_whose_color_it_has() -> None:
    depth, small = torch.full((8, 8), 4.0), torch.full((8, 8, 3), 0.2)
    depth[:, :4], small[:, :4] = 1.0, 0.8
    near, far = (CENTER - 255 * share for share in (0.8, 0.2))
    found = surfaces(depth, small)[None, :, 3:4, 3:4]  # a cell of the near side, beside the far one
    colors = torch.full((1, 3, 1, 1), -near / SPREAD)
    unlike = nearby(found, torch.zeros(1, 1, 1, 1), colors).unlike.flatten()
    assert unlike.tolist() == pytest.approx([0.0, 0.0, 0.0, (far - near) / SPREAD, (far - near) / SPREAD], abs=1e-5)
