"""Entropy and edge strength against independent formulations, and the score's promises."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.selection.uncertainty import (
    FULL_CONTRAST,
    HALF_STEP,
    LEAST_CONTRAST,
    LEAST_DOUBT,
    Mode,
    doubt,
    edge_strength,
    entropy,
    uncertainty,
    weighted,
)

MODES: tuple[Mode, ...] = ("entropy", "edges", "both")


def prediction(seed: int = 0, size: tuple[int, int] = (24, 32), feature_size: tuple[int, int] = (24, 32)) -> CoarsePrediction:
    """A random smooth depth with a jump down the middle, and random features."""
    generator = torch.Generator().manual_seed(seed)
    depth = 2 + torch.rand(size, generator=generator) * 0.1
    depth[:, size[1] // 2 :] *= 3
    return CoarsePrediction(depth, torch.randn(8, *feature_size, generator=generator))


def test_entropy_by_hand() -> None:
    features = torch.log(torch.tensor([[[1.0, 8.0, 1.0]], [[1.0, 1.0, 3.0]]]))
    skewed, mild = -(8 / 9 * math.log(8 / 9) + 1 / 9 * math.log(1 / 9)), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    torch.testing.assert_close(entropy(features), torch.tensor([[math.log(2), skewed, mild]]))


def test_entropy_is_the_textbook_formula_in_double_precision() -> None:
    features = 5 * torch.randn(32, 7, 9)
    q = np.exp(features.double().numpy())
    q /= q.sum(0)
    np.testing.assert_allclose(entropy(features).numpy(), -(q * np.log(q)).sum(0), atol=2e-6)
    assert entropy(features.half()).dtype == torch.float32


def test_entropy_spans_certainty_to_indifference() -> None:
    certain = torch.full((32, 2, 2), -1e4)
    certain[3] = 0
    assert entropy(certain).abs().max() == 0
    torch.testing.assert_close(entropy(torch.full((32, 2, 2), 7.0)), torch.full((2, 2), math.log(32)))


def test_edge_strength_is_a_saturating_mean_of_morphological_gradients() -> None:
    depth = 1 + 4 * torch.rand(15, 20)
    log = np.log(depth.numpy())
    near, wide = (cv2.dilate(log, np.ones((n, n), np.uint8)) - cv2.erode(log, np.ones((n, n), np.uint8)) for n in (3, 5))
    step = (2 * near + wide) / 3
    np.testing.assert_allclose(edge_strength(depth).numpy(), step / (step + HALF_STEP), atol=1e-6)


def test_edge_strength_of_a_step_by_hand() -> None:
    depth = torch.ones(3, 8)
    depth[:, 4:] = math.exp(0.3)
    beside, next_to_it = 0.3 / (0.3 + 0.15), 0.1 / (0.1 + 0.15)
    expected = torch.tensor([0, 0, next_to_it, beside, beside, next_to_it, 0, 0]).expand(3, 8)
    torch.testing.assert_close(edge_strength(depth), expected)


def test_a_large_step_is_hardly_more_of_an_edge() -> None:
    """A step to the sky is as certain as one of a factor 2: it must not take the budget of all others."""

    def of(factor: float) -> float:
        depth = torch.ones(5, 8)
        depth[:, 4:] = factor
        return float(edge_strength(depth).max())

    assert of(1.2) < of(2) < of(100) < 1 and of(100) < 1.3 * of(2)


@pytest.mark.parametrize("factor", [1e-6, 0.25, 3.0, 1e6])
def test_score_does_not_depend_on_the_unit_of_depth(factor: float) -> None:
    coarse = prediction()
    scaled = CoarsePrediction(coarse.depth * factor, coarse.features)
    torch.testing.assert_close(edge_strength(scaled.depth), edge_strength(coarse.depth), atol=2e-6 / HALF_STEP, rtol=0)
    torch.testing.assert_close(doubt(scaled), doubt(coarse), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("feature_size", [(24, 32), (48, 64), (7, 9)])
def test_score_lies_on_the_coarse_grid_and_is_about_one(mode: Mode, feature_size: tuple[int, int]) -> None:
    coarse = prediction(feature_size=feature_size)
    for score in (doubt(coarse, mode), uncertainty(coarse, torch.rand(24, 32), mode)):
        assert score.shape == (24, 32)
        assert bool(torch.isfinite(score).all()) and float(score.min()) >= 0
        assert float(score.mean()) == pytest.approx(1.0, abs=0.02)


def test_edges_are_scored_on_both_sides_of_the_jump() -> None:
    score = doubt(prediction(), "edges")
    columns = score.mean(0)
    assert set(columns.topk(2).indices.tolist()) == {15, 16}


def test_entropy_is_scored_where_the_features_hesitate() -> None:
    coarse = prediction()
    features = torch.zeros(8, 48, 64)
    features[0] = 20.0
    features[:, 20:24, 40:44] = 0.0  # indifferent at rows 10…11, columns 20…21 of the depth
    score = doubt(CoarsePrediction(coarse.depth, features), "entropy")
    assert divmod(int(score.argmax()), 32) in {(y, x) for y in (10, 11) for x in (20, 21)}
    assert float(score[:6].max()) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_broken_features_change_nothing_elsewhere(bad: float) -> None:
    """They are as certain as the most certain pixel: no budget for them, and none taken from the others."""
    coarse = prediction()
    good = doubt(coarse)
    features = coarse.features.clone()
    features[:, 4, 5] = bad
    broken = doubt(CoarsePrediction(coarse.depth, features))
    assert bool(torch.isfinite(broken).all())
    far = torch.ones(24, 32, dtype=torch.bool)
    far[1:8, 2:9] = False
    ratio = broken[far] / good[far]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), atol=0.02, rtol=0)
    assert float((broken[4, 5] - good[4, 5]) / good.mean()) < 0.3


def test_features_without_any_value_leave_the_edges() -> None:
    coarse = prediction()
    broken = CoarsePrediction(coarse.depth, torch.full_like(coarse.features, math.nan))
    torch.testing.assert_close(2 * doubt(broken), doubt(coarse, "edges"))


def test_nothing_uncertain_is_no_doubt_and_one_score_for_all() -> None:
    flat = CoarsePrediction(torch.full((8, 8), 3.0), torch.zeros(4, 8, 8))
    for mode in MODES:
        assert float(doubt(flat, mode).abs().max()) == 0
        torch.testing.assert_close(uncertainty(flat, torch.full((8, 8), 0.1), mode), torch.ones(8, 8))


def test_score_is_doubt_times_the_root_of_the_contrast() -> None:
    given, contrast = torch.rand(24, 32), 0.5 * torch.rand(24, 32)
    contrast[0] = 0
    wanted = (given.double() + LEAST_DOUBT) * contrast.double().clip(LEAST_CONTRAST, FULL_CONTRAST).sqrt()
    torch.testing.assert_close(weighted(given, contrast).double(), wanted / wanted.mean(), atol=1e-5, rtol=1e-5)
    coarse = prediction()
    torch.testing.assert_close(uncertainty(coarse, contrast), weighted(doubt(coarse), contrast))


@pytest.mark.parametrize("plain", [0.0, 0.05, 0.5])
def test_a_frame_alike_everywhere_is_scored_by_doubt_alone(plain: float) -> None:
    """Also a black one: a covered lens or a night still has a coarse map to refine."""
    coarse = prediction()
    torch.testing.assert_close(
        uncertainty(coarse, torch.full((24, 32), plain)), (doubt(coarse) + LEAST_DOUBT) / (doubt(coarse) + LEAST_DOUBT).mean()
    )


def test_of_equal_doubt_the_one_that_the_frame_shows_is_refined() -> None:
    contrast = torch.full((24, 32), 0.01)
    contrast[5, 7] = 0.09
    score = weighted(torch.ones(24, 32), contrast)
    assert divmod(int(score.argmax()), 32) == (5, 7)
    assert float(score[5, 7] / score[0, 0]) == pytest.approx(3.0, rel=1e-5)


def test_where_the_map_shows_nothing_the_frame_decides() -> None:
    """Of a depth without a step or any entropy, the cells with texture come first."""
    flat = CoarsePrediction(torch.full((24, 32), 3.0), torch.zeros(4, 24, 32))
    shown = torch.full((24, 32), 0.005)
    shown[16:, 20:] = 0.1
    score = uncertainty(flat, shown)
    assert float(score[16:, 20:].min()) > 4 * float(score[:16].max()) > 0
