"""Where two models disagree as a selection score."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.selection import disagreement as module


def disagreement(depth: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of two predictions without masks."""
    return module.disagreement(prediction(depth), prediction(other))


def prediction(depth: torch.Tensor, **masks: torch.Tensor) -> CoarsePrediction:
    return CoarsePrediction(depth, torch.zeros(1, *depth.shape), **masks)


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


@pytest.mark.parametrize("kind", ["unknown", "sky"])
@pytest.mark.parametrize("of_other", [True, False])
@pytest.mark.parametrize("size", [(54, 96), (108, 192)])
def test_what_is_no_surface_counts_as_agreed(kind: str, of_other: bool, size: tuple[int, int]) -> None:
    """Depth there is finite, of the cells around or at the far limit, and as wrong as can be; what differs elsewhere is found."""
    depth, other = planes(), planes(size)
    other[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 3] *= 1.6
    holed = other if of_other else depth
    rows, columns = slice(0, holed.shape[0] // 6), slice(0, holed.shape[1] // 3)
    mask = torch.zeros_like(holed, dtype=torch.bool)
    mask[rows, columns] = True
    holed[mask] = 50.0
    plain, masked = prediction(holed), prediction(holed, **{kind: mask})
    blind, score = (
        module.disagreement(prediction(depth) if of_other else given, given if of_other else prediction(other))
        for given in (plain, masked)
    )
    assert float(score[:9, :32].max()) == 0 < float(blind[:8, :31].min())
    differs = score[15:26, 26:31]
    assert float(differs.min()) > 10 * float(score[30:].median()) and float(score.mean()) == pytest.approx(1)


def test_two_that_agree_score_nothing() -> None:
    """One of another scale and power agrees, too, but for what float32 rounds."""
    assert float(disagreement(planes(), planes()).max()) == 0
    depth, other = planes(), planes() ** 1.2
    apart = disagreement(depth, other)
    other[10, 30] *= 1.6
    assert float(disagreement(depth, other)[10, 30]) > 1e3 * float(apart.min())
