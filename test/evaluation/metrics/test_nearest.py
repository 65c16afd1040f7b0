"""The tree against comparing every pair."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.nearest import LEAF, NearestPoints


@pytest.mark.parametrize("count", [1, 2, LEAF, LEAF + 1, 1000])
@pytest.mark.parametrize("kind", ["scattered", "plane", "repeated", "line"])
def test_the_nearest_point_is_the_nearest(count: int, kind: str) -> None:
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count, 3))
    if kind == "plane":
        points[:, 1] = 0.5
    if kind == "repeated":
        points = np.repeat(points[: max(1, count // 7)], 7, axis=0)
    if kind == "line":
        points[:, 1:] = 0.25
    queries = np.concatenate((points[:50], rng.normal(size=(300, 3)), 100 * rng.normal(size=(20, 3))))
    expected = np.linalg.norm(queries[:, None] - points[None], axis=2).min(1)
    assert np.allclose(NearestPoints(points).distances(queries), expected, rtol=1e-9, atol=1e-12)


def test_the_callers_points_stay_in_their_order() -> None:
    points = np.random.default_rng(0).normal(size=(100, 3))
    before = points.copy()
    NearestPoints(points)
    assert np.array_equal(points, before)


@pytest.mark.parametrize("points", [np.empty((0, 3)), np.ones((4, 2)), np.full((3, 3), np.nan)])
def test_points_that_make_no_tree_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite points"):
        NearestPoints(points)
