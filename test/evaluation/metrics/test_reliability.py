"""Reliability and risk of a confidence."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.reliability import reliability, risk_areas


def test_a_calibrated_confidence_has_no_error_and_a_bold_one_its_excess() -> None:
    rng = np.random.default_rng(0)
    said = rng.uniform(size=200_000)
    right = rng.uniform(size=said.size) < said
    assert reliability(said, right).calibration_error < 0.01
    bold = reliability(np.full(1000, 0.95), np.arange(1000) < 700)
    assert bold.calibration_error == pytest.approx(0.25) and bold.area == pytest.approx(0.25)
    assert bold.share[9] == 1 and np.isnan(bold.right[0])


def test_unknown_confidence_is_left_out() -> None:
    curve = reliability(np.array([np.nan, 0.55]), np.array([True, False]))
    assert curve.share[5] == 1 and curve.right[5] == 0


def test_risk_is_least_for_a_confidence_that_knows() -> None:
    right = np.arange(1000) % 4 > 0
    knowing, blind = risk_areas(right.astype(float), right), risk_areas(np.full(1000, 0.5), right)
    assert knowing["ause"] == pytest.approx(0, abs=1e-6) and blind["ause"] > 0.1
    assert blind["wrong"] == 0.25
