"""Distances of depth boundaries against cases worked out by hand and against another implementation."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.boundary_distance import REACH_PX, boundary_distances, canny, depth_edges


def step_at(column: int, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    depth = np.full(size, 2.0, np.float32)
    depth[:, column:] = 4.0
    return depth


def rough(seed: int, size: tuple[int, int] = (90, 120)) -> np.ndarray:
    """Slanted surfaces, discs before them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    depth = 3 + 0.02 * y + 0.01 * x
    for _ in range(6):
        middle, radius = rng.uniform(0, size), rng.uniform(6, 25)
        depth[np.hypot(y - middle[0], x - middle[1]) < radius] = rng.uniform(1, 9)
    return np.asarray(depth, np.float32)


@pytest.mark.parametrize("moved", [1, 4, 9])
def test_an_edge_out_of_place_is_as_far_as_it_was_moved(moved: int) -> None:
    """To half a pixel: a step is an edge of one pixel or of two, one on either side, as the last bit decides."""
    assert list(boundary_distances(step_at(25 + moved), step_at(25))) == pytest.approx([moved - 0.5] * 2, abs=0.51)
    assert boundary_distances(step_at(25), step_at(25)) == (0, 0)


def test_figures_are_exact_and_so_the_same_in_every_run() -> None:
    """OpenCV's distances differ from run to run by their rounding."""
    rng = np.random.default_rng(0)
    truth = np.where(cv2.GaussianBlur(rng.normal(size=(120, 160)), (0, 0), 8) > 0, 2.0, 5.0).astype(np.float32)
    depth = np.roll(truth, (3, 2), (0, 1))
    everywhere = np.ones(truth.shape, bool)
    true, predicted = (np.argwhere(depth_edges(of, everywhere)) for of in (truth, depth))
    squares = ((true[:, None] - predicted[None]) ** 2).sum(2)
    expected = [float(np.minimum(np.sqrt(squares.min(axis)), REACH_PX).mean()) for axis in (0, 1)]
    assert list(boundary_distances(depth, truth)) == pytest.approx(expected, rel=1e-13)


def test_an_edge_elsewhere_is_none_at_all() -> None:
    assert boundary_distances(step_at(36), step_at(25)) == (REACH_PX, REACH_PX)


def test_a_missing_edge_costs_completeness_alone() -> None:
    truth, half = step_at(20), step_at(20)
    truth[:, 44:] = 8.0
    found = boundary_distances(half, truth)
    assert found.accuracy < 0.1 and found.completeness == pytest.approx(REACH_PX / 2, abs=0.1)
    more = boundary_distances(truth, half)  # an edge too many, more than 10 px from any true one
    assert more.accuracy == pytest.approx(REACH_PX / 2, abs=0.1) and more.completeness < 0.1


def test_no_map_is_worse_than_a_flat_one() -> None:
    """Edges anywhere are no worse than none at all, in both figures."""
    truth = rough(2)
    flat = boundary_distances(np.full_like(truth, 3.0), truth)
    assert flat == (REACH_PX, REACH_PX)
    for depth in (rough(3), np.ascontiguousarray(truth[:, ::-1]), step_at(2, (90, 120)), np.roll(truth, 25, 1)):
        found = boundary_distances(depth, truth)
        assert found.accuracy <= REACH_PX and found.completeness <= REACH_PX
    assert max(boundary_distances(np.roll(truth, 1, 1), truth)) < 0.5 * REACH_PX


def test_no_true_edge_no_figure() -> None:
    assert all(math.isnan(value) for value in boundary_distances(step_at(25), np.full((40, 60), 3.0, np.float32)))
    assert all(math.isnan(value) for value in boundary_distances(step_at(25), np.full((40, 60), np.nan, np.float32)))
    assert boundary_distances(np.full((40, 60), 3.0, np.float32), step_at(25)) == (REACH_PX, REACH_PX)


def test_units_do_not_matter_and_near_edges_count_beside_far_ones() -> None:
    truth, depth = rough(1), rough(1)
    depth[30:60, 40:80] += 1.0
    assert boundary_distances(8 * depth, truth / 2) == boundary_distances(depth, truth)
    near = np.full((40, 60), 2.0, np.float32)  # a step of half a metre, where the background is a hundred away
    near[:, 30:], near[:5] = 1.5, 100.0
    assert depth_edges(near, np.ones(near.shape, bool))[10:30, 28:32].any(1).all()


def test_what_is_unknown_makes_no_edge() -> None:
    truth = step_at(25)
    truth[:, 40:] = np.nan
    known = np.isfinite(truth)
    assert np.flatnonzero(depth_edges(truth, known).any(0)).tolist() in ([24, 25], [24], [25])
    other = step_at(25)
    other[:, 40:] = 1e4  # where the truth is not known
    assert boundary_distances(other, truth) == (0, 0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("holes", [False, True])
def test_edges_are_those_of_another_implementation(seed: int, holes: bool) -> None:
    feature = pytest.importorskip("skimage.feature", reason="scikit-image is not installed: pip install scikit-image")
    depth = rough(seed)
    known = np.ones(depth.shape, bool)
    if holes:
        known[20:33, 50:90] = known[:4] = False
    values = np.where(known, (depth - depth[known].min()) / np.ptp(depth[known]), 0).astype(np.float32)
    options = {"sigma": np.sqrt(2), "low_threshold": 0.1, "high_threshold": 0.2}
    expected = feature.canny(values.astype(np.float64), mask=known if holes else None, **options)
    ours = canny(values, known)
    assert expected.sum() > 100
    assert (ours != expected).sum() <= 0.01 * expected.sum()  # ties, decided by the last bit


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_another_implementation(seed: int) -> None:
    reason = "scikit-image and SciPy are not installed: pip install scikit-image"
    feature = pytest.importorskip("skimage.feature", reason=reason)
    ndimage = pytest.importorskip("scipy.ndimage", reason=reason)
    truth = rough(seed)
    depth = np.roll(truth, (2, 1), (0, 1))

    def edges(of: np.ndarray) -> np.ndarray:
        found = np.zeros(of.shape, bool)
        for form in (of.astype(np.float64), 1 / of.astype(np.float64)):
            scaled = (form - form.min()) / np.ptp(form)
            found |= feature.canny(scaled, sigma=np.sqrt(2), low_threshold=0.1, high_threshold=0.2)
        return found

    true, predicted = edges(truth), edges(depth)
    from_true, from_predicted = (ndimage.distance_transform_edt(~of) for of in (true, predicted))
    found = boundary_distances(depth, truth)
    expected = (from_true[predicted].clip(max=10).mean(), from_predicted[true].clip(max=10).mean())
    assert found == pytest.approx(expected, rel=0.02)
