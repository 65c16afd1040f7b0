"""Which pixels count as high-error, and how many of them a selection covers."""

from __future__ import annotations

import math

import numpy as np

from depth_retrofit_ros.evaluation.metrics.coverage import coverage, high_error, surface_error
from depth_retrofit_ros.evaluation.metrics.edges import edge_band


def two_surfaces() -> np.ndarray:
    truth = np.full((64, 256), 2.0, np.float32)
    truth[:, 128:] = 6.0
    return truth


def test_a_surface_that_is_off_as_a_whole_is_no_high_error() -> None:
    truth = two_surfaces()
    depth = np.where(truth == 2.0, 2.6, 5.0).astype(np.float32)  # +30 % and -17 %, edge in place
    assert not high_error(depth, truth, edge_band(truth)).any()


def test_a_displaced_edge_is_high_error_exactly_where_it_is_displaced() -> None:
    truth = two_surfaces()
    depth = np.roll(truth, 3, axis=1) * 1.3
    depth[:, :3] = 2.6
    got = high_error(depth, truth, edge_band(truth))
    assert np.flatnonzero(got.all(0)).tolist() == np.flatnonzero(got.any(0)).tolist() == [128, 129, 130]


def test_a_lost_thin_structure_is_high_error() -> None:
    truth = np.full((64, 256), 6.0, np.float32)
    truth[:, 100] = 2.0
    got = high_error(np.full_like(truth, 6.3), truth, edge_band(truth))
    assert np.flatnonzero(got.any(0)).tolist() == [100] and got[:, 100].all()


def test_the_threshold_is_ten_percent() -> None:
    truth = np.full((64, 256), 6.0, np.float32)
    depth = truth.copy()
    depth[10, 20], depth[30, 60] = 6.0 * 1.09, 6.0 * 1.12
    assert np.argwhere(high_error(depth, truth, edge_band(truth))).tolist() == [[30, 60]]


def test_surface_error_equals_plain_loops() -> None:
    rng = np.random.default_rng(4)
    size = (10, 130)  # cells of 3 px
    truth = rng.choice([1.0, 1.05, 2.0, 5.0], size).astype(np.float32)
    error = rng.normal(0, 0.2, size).astype(np.float32)
    known, band = rng.random(size) < 0.9, rng.random(size) < 0.6
    known[:, 60:75] = True
    band[:, 60:75] = True  # an area without any inside
    got = surface_error(error, truth, known, band)
    bins = np.floor(np.log(truth) / np.float32(0.1)).astype(int)
    for y, x in [(0, 0), (9, 129), (5, 67), *rng.integers((0, 0), size, (60, 2)).tolist()]:
        if not known[y, x]:
            assert got[y, x] == 0
            continue
        near = [
            (a, b)
            for a in range(size[0])
            for b in range(size[1])
            if abs(a // 3 - y // 3) <= 1 and abs(b // 3 - x // 3) <= 1 and known[a, b] and not band[a, b]
        ]
        alike = [p for p in near if abs(bins[p] - bins[y, x]) <= 1] or near
        errors = sorted(error[p] for p in alike) or [0.0]
        assert abs(got[y, x] - errors[(len(errors) - 1) // 2]) <= 0.03


def test_coverage_by_hand() -> None:
    wanted = np.array([[1, 1, 0], [1, 1, 0]], bool)
    assert coverage(np.array([[1, 0, 1], [0, 0, 1]], bool), wanted) == 0.25
    assert math.isnan(coverage(wanted, np.zeros_like(wanted)))


def test_nothing_known() -> None:
    unknown = np.full((8, 8), np.nan, np.float32)
    assert not high_error(np.ones((8, 8), np.float32), unknown, edge_band(unknown)).any()
