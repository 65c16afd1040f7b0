"""Where two models disagree as a selection score."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.selection.disagreement import disagreement


def planes(size: tuple[int, int] = (54, 96), far: float = 6.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
    return torch.where(x < 0.5, 2.0 + y, far)


def test_it_is_where_they_differ() -> None:
    depth, other = planes(), planes()
    other[10:20, 30:40] *= 1.6
    score = disagreement(depth, other)
    assert score.shape == depth.shape and float(score.mean()) == pytest.approx(1)
    inside = torch.zeros_like(depth, dtype=torch.bool)
    inside[10:20, 30:40] = True
    assert float(score[inside].min()) > 20 * float(score[~inside].max())


def test_neither_need_be_metric() -> None:
    depth, other = planes(), 40 * planes() ** 1.3
    other[10:20, 30:40] *= 1.6
    torch.testing.assert_close(disagreement(7 * depth, other), disagreement(depth, other), rtol=1e-2, atol=1e-2)
    score = disagreement(depth, other)
    assert float(score[10:20, 30:40].min()) > 10 * float(score[30:].max())


def test_the_other_may_be_of_another_size() -> None:
    score = disagreement(planes(), planes((108, 192)))
    edge = torch.zeros(54, 96, dtype=torch.bool)
    edge[:, 46:50] = True
    assert score.shape == (54, 96) and float(score[~edge].mean()) < 0.5


def test_unknown_cells_count_as_agreed() -> None:
    depth, other = planes(), planes()
    other[10:20, 30:40] *= 1.6
    depth[0, 0], other[53, 95] = torch.nan, torch.inf
    score = disagreement(depth, other)
    assert score.isfinite().all() and float(score[0, 0]) == float(score[53, 95]) == 0


def test_two_that_agree_score_nothing() -> None:
    assert not disagreement(planes(), planes()).isnan().any()
