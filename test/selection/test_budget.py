"""Exactly K pixels, those with the highest scores, the same ones every time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from depth_retrofit_ros.selection.budget import select_top


def brute_force(full: torch.Tensor, count: int) -> list[int]:
    """The first ``count`` of all pixels sorted by falling score, then by rising index."""
    values = full.flatten().tolist()
    return sorted(sorted(range(len(values)), key=lambda i: (-values[i], i))[:count])


@pytest.mark.parametrize("count", [0, 1, 7, 100, 23 * 31 - 1, 23 * 31])
def test_agrees_with_a_sort(count: int) -> None:
    score = torch.rand(5, 8)
    full = F.interpolate(score[None, None], size=(23, 31), mode="bilinear", align_corners=False)[0, 0]
    assert select_top(score, (23, 31), count).indices.tolist() == brute_force(full, count)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 7, 11, 12])
def test_of_equal_scores_the_first_win(count: int) -> None:
    score = torch.tensor([[1.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 1.0], [1.0, 1.0, 0.0, 1.0]])
    chosen = select_top(score, (3, 4), count)
    assert chosen.count == count
    assert chosen.indices.tolist() == brute_force(score, count)


@pytest.mark.parametrize("count", [0, 1, 50, 768])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_score_still_gives_exactly_k(count: int, value: float) -> None:
    chosen = select_top(torch.full((3, 4), value), (24, 32), count)
    assert chosen.indices.tolist() == list(range(count))
    assert chosen.size == (24, 32)


def test_more_than_all_is_all() -> None:
    assert select_top(torch.rand(3, 4), (6, 8), 1000).indices.tolist() == list(range(48))


def test_same_answer_at_every_call() -> None:
    score = torch.randint(0, 4, (9, 16)).float()
    first = select_top(score, (90, 160), 1440)
    assert all(torch.equal(first.indices, select_top(score.clone(), (90, 160), 1440).indices) for _ in range(3))


def test_grids_align() -> None:
    """One hot coarse pixel becomes the fine pixels around its own centre, (1.5 · 8 − 0.5, 3.5 · 8 − 0.5)."""
    score = torch.zeros(3, 5)
    score[1, 3] = 1.0
    near = 1 - (torch.arange(-3.5, 4) / 8).abs()
    count = 4 * int((near[4:, None] * near[4:] > 0.4).sum())
    mask = select_top(score, (24, 40), count).mask()
    assert int(mask.sum()) == count
    assert mask.nonzero().double().mean(0).tolist() == [11.5, 27.5]
