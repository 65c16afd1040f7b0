"""The surfaces nearby, and the choice among them."""

from __future__ import annotations

import math

import pytest
import torch

from depth_retrofit_ros.refinement.tiles.surfaces import COUNT, FARTHEST, STAY, choice, offsets_to, surfaces


def test_they_are_the_nearest_and_the_farthest_cells_around() -> None:
    depth = torch.full((9, 9), 4.0)
    depth[4, 4], depth[4, 6] = 1.0, 16.0
    found = surfaces(depth)
    assert found.shape == (COUNT, 9, 9)
    near_1, near_2, far_1, far_2 = (float(value) for value in found[:, 4, 5])
    assert near_1 == near_2 == pytest.approx(math.log(1 / 4)) and far_1 == far_2 == pytest.approx(math.log(4))
    assert found[:, 4, 3].tolist() == pytest.approx([math.log(1 / 4)] * 2 + [0.0, 0.0])
    assert found[:, 6, 4].tolist() == pytest.approx([0.0, math.log(1 / 4), 0.0, math.log(4)])


def test_scale_changes_nothing() -> None:
    depth = torch.rand(7, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    torch.testing.assert_close(surfaces(37 * depth), surfaces(depth))


def test_cells_that_are_not_known_are_passed_over() -> None:
    depth = torch.full((6, 6), 2.0)
    depth[2, 2], depth[3, 3] = torch.nan, 0.5
    found = surfaces(depth)
    assert bool(found.isfinite().all())
    assert float(found[0, 2, 2]) == pytest.approx(math.log(0.25)) and float(found[2, 2, 2]) == pytest.approx(0.0)
    assert not surfaces(torch.full((4, 4), torch.nan)).any()


def test_a_network_that_says_nothing_nearly_stays_and_one_that_is_sure_takes_the_surface() -> None:
    level = torch.zeros(1, 1, 4, 4)
    shown = torch.tensor([-1.0, -1.0, 0.5, 9.0]).view(1, COUNT, 1, 1).expand(1, COUNT, 4, 4)
    offsets = offsets_to(shown, level)
    assert float(offsets[0, 3, 0, 0]) == FARTHEST
    said = torch.zeros(1, 1 + COUNT, 4, 4)
    share = 1 / (COUNT + math.exp(STAY))
    assert choice(said, offsets).mean()[0, 0, 0] == pytest.approx(share * (-2 + 0.5 + FARTHEST), rel=1e-5)
    said[:, 3], said[:, 0] = 30.0, 0.01
    assert choice(said, offsets).mean()[0, 0, 0] == pytest.approx(0.51, rel=1e-5)
