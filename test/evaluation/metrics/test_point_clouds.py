"""Scores of clouds whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.point_clouds import CloudScore, compare_clouds

X, Y = (a.ravel() for a in np.meshgrid(np.arange(40) * 0.05, np.arange(40) * 0.05))
PLANE = np.stack((X, Y, np.ones_like(X)), 1)


def test_the_truth_itself_is_perfect() -> None:
    result = compare_clouds(PLANE, PLANE, (0.01, 0.1))
    assert [(s.accuracy, s.completeness, s.f_score) for s in result.scores] == [(1.0, 1.0, 1.0)] * 2
    assert result.accuracy == result.completeness == result.overall == 0


def test_a_shifted_plane_is_off_by_its_shift() -> None:
    result = compare_clouds(PLANE + np.array([0, 0, 0.02]), PLANE, (0.01, 0.03))
    assert [s.f_score for s in result.scores] == [0.0, 1.0]
    assert result.accuracy == pytest.approx(0.02)
    assert result.completeness == pytest.approx(0.02)


def test_half_a_plane_is_accurate_and_half_complete() -> None:
    score = compare_clouds(PLANE[PLANE[:, 0] < 0.99], PLANE, (0.01,)).scores[0]
    assert score.accuracy == 1.0
    assert score.completeness == pytest.approx(0.5)
    assert score.f_score == pytest.approx(2 / 3)


def test_flying_points_cost_accuracy_alone() -> None:
    flying = PLANE[:400] - np.array([0, 0, 0.5])
    score = compare_clouds(np.concatenate((PLANE, flying)), PLANE, (0.05,)).scores[0]
    assert score.accuracy == pytest.approx(1600 / 2000)
    assert score.completeness == 1.0


def test_a_surface_counts_by_its_size_not_by_how_often_it_was_seen() -> None:
    seen_often = np.concatenate((PLANE, np.repeat(PLANE[:400] - np.array([0, 0, 0.5]), 50, axis=0)))
    assert compare_clouds(seen_often, PLANE, (0.05,)).scores[0].accuracy == pytest.approx(1600 / 2000)


def test_no_score_divides_by_nothing() -> None:
    assert CloudScore(0.1, 0.0, 0.0).f_score == 0.0
