"""What tiles of a training window are to answer, and how far they disagree."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.refinement.base import LARGEST_CHANGE
from depth_retrofit_ros.refinement.tiles.layout import cut
from depth_retrofit_ros.refinement.tiles.surfaces import Choice
from depth_retrofit_ros.training.tile_batch import choice_losses, disagreement, grid, targets
from test.training.told import ramp, window

SIDE, OVERLAP = 16, 4


@pytest.mark.parametrize(("size", "places"), [((16, 16), [[0, 0]]), ((16, 28), [[0, 0], [0, 12]]), ((28, 16), [[0, 0], [12, 0]])])
def test_tiles_cover_a_window(size: tuple[int, int], places: list[list[int]]) -> None:
    assert grid(window(torch.zeros(size)), SIDE, OVERLAP).tolist() == places


def test_targets_are_the_windows_cut_into_tiles() -> None:
    wanted = ramp(16, 28, 0.01)
    wanted[3, 5] = torch.nan
    wanted[4, 6] = 9.0
    part = window(wanted)
    places = grid(part, SIDE, OVERLAP)
    found = targets([part, part], [places, places[:1]], SIDE)
    assert found.wanted.shape == (3, SIDE, SIDE) and not found.valid[0, 3, 5] and not found.selected[0, 3, 5]
    assert float(found.wanted[0, 3, 5]) == 0.0 and float(found.wanted[0, 4, 6]) == LARGEST_CHANGE
    known = found.valid & (found.wanted < LARGEST_CHANGE)
    torch.testing.assert_close(found.wanted[:2][known[:2]], cut(wanted, places, SIDE)[known[:2]])
    assert torch.equal(found.wanted[2], found.wanted[0])
    assert torch.equal(found.selected[1], (found.valid & cut(part.selected, places, SIDE)[1])[1])


def test_tiles_that_are_parts_of_one_map_agree() -> None:
    whole, places = torch.rand(40, 40), torch.tensor([[0, 0], [0, 12], [7, 3], [24, 24]])
    assert float(disagreement(cut(whole, places, SIDE), places)) == 0.0


def test_a_constant_between_tiles_is_how_far_they_disagree() -> None:
    places = torch.tensor([[0, 0], [0, 12]])
    change = torch.zeros(2, SIDE, SIDE)
    change[1] = 0.25
    assert float(disagreement(change, places)) == pytest.approx(0.25)
    apart = torch.tensor([[0, 0], [0, 16]])
    assert float(disagreement(change, apart)) == 0.0


def test_only_what_both_see_counts_and_the_mean_is_over_pairs() -> None:
    places = torch.tensor([[0, 0], [4, 12], [0, 100]])
    change = torch.zeros(3, SIDE, SIDE)
    change[0, 4:, 12:] = 0.5  # all that the second sees of the first
    change[0, :4], change[2] = 7.0, 7.0  # none of it
    assert float(disagreement(change, places)) == pytest.approx(0.5)


def test_its_gradient_brings_the_two_together() -> None:
    change = torch.zeros(2, SIDE, SIDE)
    change[1] = 0.1
    change.requires_grad_()
    disagreement(change, torch.tensor([[0, 0], [0, 12]])).backward()
    assert change.grad is not None
    assert float(change.grad[0, :, 12:].max()) < 0 < float(change.grad[1, :, :4].min())
    assert float(change.grad[0, :, :12].abs().max()) == 0.0


def test_a_choice_is_right_where_it_takes_the_candidate_nearest_to_what_is_wanted() -> None:
    candidates = torch.tensor([0.0, -1.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    wanted, selected = torch.full((1, 2, 2), 1.0), torch.tensor([[[True, True], [False, False]]])
    errors, entropies = [], []
    for taken in range(3):
        logits = torch.zeros(1, 3, 2, 2)
        logits[:, taken] = 20.0
        logits[:, taken, 1] = -20.0  # what is not selected does not count
        expected, entropy = choice_losses(Choice(candidates, logits.log_softmax(1)), wanted, selected)
        errors.append(float(expected.alone()))
        entropies.append(float(entropy.alone()))
    assert errors == pytest.approx([1.0, 2.0, 0.0], abs=1e-4)
    assert entropies == pytest.approx([20.0, 20.0, 0.0], abs=1e-3)


def test_a_choice_between_equal_candidates_costs_nothing() -> None:
    logits = torch.zeros(1, 3, 2, 2).index_fill(1, torch.tensor([0]), 5.0)
    alike = Choice(torch.zeros(1, 3, 2, 2), logits.log_softmax(1))
    expected, entropy = choice_losses(alike, torch.full((1, 2, 2), 0.5), torch.ones(1, 2, 2, dtype=torch.bool))
    assert float(expected.alone()) == pytest.approx(0.5) and float(entropy.alone()) == 0.0
