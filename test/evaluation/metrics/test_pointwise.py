"""Metrics against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel, depth_edge_band, median_scale, pointwise

REFERENCE = np.array([[1.0, 2.0, 4.0], [np.nan, 0.0, 5.0]], np.float32)
DEPTH = np.array([[1.1, 1.0, 4.0], [9.0, 9.0, np.nan]], np.float32)


def test_abs_rel_over_what_both_know() -> None:
    assert abs_rel(DEPTH, REFERENCE) == pytest.approx((0.1 + 0.5 + 0.0) / 3, rel=1e-6)
    assert abs_rel(DEPTH, REFERENCE, where=np.array([[1, 1, 0], [1, 1, 1]], bool)) == pytest.approx(0.3, rel=1e-6)


def test_median_scale_aligns_the_medians() -> None:
    assert median_scale(DEPTH, REFERENCE) == pytest.approx(2.0 / 1.1, rel=1e-6)
    assert abs_rel(3.0 * DEPTH * median_scale(3.0 * DEPTH, REFERENCE), REFERENCE) == pytest.approx(
        abs_rel(DEPTH * median_scale(DEPTH, REFERENCE), REFERENCE), rel=1e-5
    )


def test_nothing_in_common_is_nan() -> None:
    unknown = np.full((2, 3), np.nan, np.float32)
    assert math.isnan(abs_rel(unknown, REFERENCE)) and math.isnan(median_scale(unknown, REFERENCE))


def test_edge_band_has_the_stated_reach() -> None:
    step = np.full((7, 20), 2.0, np.float32)
    step[:, 10:] = 3.0
    assert np.flatnonzero(depth_edge_band(step, reach_px=1)[3]).tolist() == [9, 10]
    assert np.flatnonzero(depth_edge_band(step, reach_px=3)[3]).tolist() == [7, 8, 9, 10, 11, 12]
    assert np.array_equal(depth_edge_band(step.T, reach_px=3), depth_edge_band(step, reach_px=3).T)


def test_slopes_and_holes_are_no_edges() -> None:
    slope = np.tile(np.linspace(2.0, 2.5, 20, dtype=np.float32), (5, 1))
    slope[2, 7:9] = np.nan
    assert not depth_edge_band(slope).any()


def test_pointwise_by_hand() -> None:
    got = pointwise(np.array([[2.0, 1.0, 4.0, np.nan]]), np.array([[1.0, 1.0, 5.0, 7.0]]))
    ln2, ln08 = math.log(2), math.log(0.8)
    assert got["abs_rel"] == pytest.approx((1 + 0 + 0.2) / 3)
    assert got["abs_rel_median"] == pytest.approx(0.2) and got["abs_rel_p95"] == pytest.approx(0.2 + 0.9 * 0.8)
    assert got["rmse"] == pytest.approx(math.sqrt((1 + 0 + 1) / 3))
    mean, square = (ln2 + ln08) / 3, (ln2**2 + ln08**2) / 3
    assert got["silog"] == pytest.approx(100 * math.sqrt(square - mean**2))
    assert got["delta1"] == pytest.approx(1 / 3)  # 5/4 is not below 1.25


def test_a_few_pixels_of_sky_decide_the_mean_and_not_its_robust_twins() -> None:
    truth = np.full((100, 100), 2.0, np.float32)
    depth = truth * np.float32(1.1)
    depth[0] = 2000.0
    got = pointwise(depth, truth)
    assert got["abs_rel"] > 5 and got["abs_rel_median"] == pytest.approx(0.1, rel=1e-4) == got["abs_rel_p95"]


def test_pointwise_equals_its_plain_formulas() -> None:
    rng = np.random.default_rng(1)
    depth, truth, where = rng.uniform(1, 9, (20, 30)), rng.uniform(1, 9, (20, 30)), rng.random((20, 30)) < 0.5
    got = pointwise(depth.astype(np.float32), truth.astype(np.float32), where)
    pairs = list(zip(depth[where], truth[where], strict=True))
    logs = [math.log(d) - math.log(t) for d, t in pairs]
    n = len(pairs)
    assert got["abs_rel"] == pytest.approx(sum(abs(d - t) / t for d, t in pairs) / n, rel=1e-5)
    assert got["rmse"] == pytest.approx(math.sqrt(sum((d - t) ** 2 for d, t in pairs) / n), rel=1e-5)
    assert got["silog"] == pytest.approx(100 * math.sqrt(sum(g * g for g in logs) / n - (sum(logs) / n) ** 2), rel=1e-4)
    assert got["delta1"] == pytest.approx(sum(max(d / t, t / d) < 1.25 for d, t in pairs) / n)
    assert got["abs_rel"] == pytest.approx(abs_rel(depth, truth, where), rel=1e-5)


def test_silog_is_blind_to_scale_even_to_a_large_one() -> None:
    truth = np.random.default_rng(0).uniform(1, 9, (50, 50)).astype(np.float32)
    assert pointwise(1000 * truth, truth)["silog"] < 1e-3


def test_pointwise_without_pixels_is_nan() -> None:
    assert all(math.isnan(v) for v in pointwise(DEPTH, REFERENCE, np.zeros((2, 3), bool)).values())
    assert all(math.isnan(v) for v in pointwise(DEPTH, np.full((2, 3), np.inf, np.float32)).values())
