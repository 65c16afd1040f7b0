"""Alignment against cases worked out by hand and against numpy's least squares."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.alignment import FARTHEST_M, Alignment, Mode, fit

TRUTH = np.array([[1.0, 2.0, 4.0], [8.0, np.nan, 5.0]], np.float32)


def test_none_changes_nothing() -> None:
    assert fit(3 * TRUTH, TRUTH, "none", False) == Alignment()
    assert np.array_equal(Alignment().apply(TRUTH), TRUTH, equal_nan=True)


def test_median_by_hand() -> None:
    depth = np.array([[10.0, 20.0, 30.0], [40.0, 99.0, 50.0]], np.float32)  # medians 30 and 4 over the five known
    assert fit(depth, TRUTH, "median", False).scale == pytest.approx(4 / 30)


def test_scale_and_shift_of_depth_for_a_metric_model() -> None:
    aligned = fit(2 * TRUTH + 3, TRUTH, "scale-shift", inverse=False)
    assert not aligned.inverse
    assert aligned.apply(2 * TRUTH + 3) == pytest.approx(TRUTH, rel=1e-5, nan_ok=True)


def test_scale_and_shift_of_inverse_depth_for_a_relative_model() -> None:
    relative = 1 / (0.5 / TRUTH + 0.2)
    aligned = fit(relative, TRUTH, "scale-shift", inverse=True)
    assert aligned.inverse
    assert aligned.apply(relative) == pytest.approx(TRUTH, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize("inverse", [True, False])
def test_scale_and_shift_equals_least_squares(inverse: bool) -> None:
    rng = np.random.default_rng(2)
    depth, truth = (rng.uniform(1, 5, (8, 8)) for _ in range(2))
    x, y = (1 / v.ravel() if inverse else v.ravel() for v in (depth, truth))
    (scale, shift), *_ = np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1), y, rcond=None)
    aligned = fit(depth, truth, "scale-shift", inverse)
    assert (aligned.scale, aligned.shift) == pytest.approx((scale, shift))


def test_aligned_depth_stays_positive_and_finite() -> None:
    for alignment in (Alignment(1.0, -3.0), Alignment(1.0, -3.0, inverse=True)):
        aligned = alignment.apply(np.array([[0.1, 1.0, 100.0]], np.float32))
        assert (aligned > 0).all() and (aligned <= FARTHEST_M * 1.001).all()


def test_nothing_in_common_and_a_constant_prediction() -> None:
    modes: tuple[Mode, ...] = ("median", "scale-shift")
    for mode in modes:
        assert fit(TRUTH, np.full_like(TRUTH, np.inf), mode, False) == Alignment()
    constant = fit(np.full_like(TRUTH, 7.0), TRUTH, "scale-shift", False)
    assert constant.apply(np.full_like(TRUTH, 7.0))[0, 0] == pytest.approx(4.0)  # the mean of the known truth
