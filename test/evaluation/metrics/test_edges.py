"""Soft edge error and boundary F1 against cases worked out by hand and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.edges import (
    band_reach,
    boundary_f1,
    disparity_edges,
    edge_band,
    soft_edge_error,
    soft_edge_errors,
)

STEP = np.repeat(np.array([[2.0, 2.0, 2.0, 4.0, 4.0, 4.0]], np.float32), 4, axis=0)


def test_band_scales_with_the_frame() -> None:
    assert [band_reach(1440, 2560), band_reach(1920, 1440), band_reach(480, 640), band_reach(4, 4)] == [10, 8, 2, 1]
    frame = np.full((20, 2560), 2.0, np.float32)
    frame[:, 1000:] = 3.0
    assert np.flatnonzero(edge_band(frame)[7]).tolist() == list(range(990, 1010))


def test_disparity_edges_by_hand() -> None:
    # f·B = 10 px·m: disparities 5 and 2.5 differ by 2.5 px, an edge; 0.5 and 0.25 do not.
    assert np.flatnonzero(disparity_edges(STEP, 50.0)[1]).tolist() == [2, 3]
    assert not disparity_edges(10 * STEP, 50.0).any()
    assert np.array_equal(disparity_edges(STEP.T, 50.0), disparity_edges(STEP, 50.0).T)
    unknown = STEP.copy()
    unknown[:, 3] = np.nan
    assert not disparity_edges(unknown, 50.0).any()


def test_soft_edge_error_by_hand() -> None:
    shifted = np.roll(STEP, 1, axis=1)
    shifted[:, 0] = 2.0
    assert soft_edge_error(STEP, STEP, 50.0) == 0
    assert soft_edge_error(shifted, STEP, 50.0) == 0  # one pixel off is forgiven
    halfway = np.where(STEP == 2.0, 2.5, 3.75).astype(np.float32)
    assert soft_edge_error(halfway, STEP, 50.0) == pytest.approx((0.5 + 0.25) / 2)


def test_soft_edge_errors_are_those_whose_mean_is_told() -> None:
    halfway = STEP * np.linspace(0.9, 1, STEP.shape[1]).astype(np.float32)
    errors = soft_edge_errors(halfway, STEP, 50.0)
    assert errors.size == disparity_edges(STEP, 50.0).sum() and np.unique(errors).size > 1
    assert soft_edge_error(halfway, STEP, 50.0) == pytest.approx(errors.mean())


def test_soft_edge_error_equals_plain_loops() -> None:
    rng = np.random.default_rng(3)
    truth = rng.choice([1.0, 1.5, 3.0, np.nan, np.inf], (9, 11)).astype(np.float32)
    depth = rng.uniform(0.5, 4, (9, 11)).astype(np.float32)
    depth[2, 2] = np.nan
    fx = 30.0

    def neighbors(y: int, x: int, reach: int, corners: bool) -> list[float]:
        near = [(y + dy, x + dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1) if corners or dy * dx == 0]
        return [float(truth[a, b]) for a, b in near if 0 <= a < 9 and 0 <= b < 11 and math.isfinite(truth[a, b])]

    errors = []
    for y in range(9):
        for x in range(11):
            t, d = float(truth[y, x]), float(depth[y, x])
            edge = math.isfinite(t) and any(abs(fx * 0.2 / n - fx * 0.2 / t) > 1 for n in neighbors(y, x, 1, False))
            if edge and math.isfinite(d):
                errors.append(min(abs(n - d) for n in neighbors(y, x, 1, True)))
    assert soft_edge_error(depth, truth, fx) == pytest.approx(np.mean(errors), rel=1e-5)


def test_boundary_f1_by_hand() -> None:
    # A step has one kind of boundary of the four, found entirely: precision and recall 1/4 each.
    assert boundary_f1(STEP, STEP) == pytest.approx(0.25)
    assert boundary_f1(7 * STEP, STEP) == pytest.approx(0.25)  # scale-invariant
    assert boundary_f1(STEP[:, ::-1], STEP) == 0  # same place, but the other side is nearer
    shifted = np.roll(STEP, 1, axis=1)
    shifted[:, 0] = 2.0
    assert boundary_f1(shifted, STEP) == 0  # one pixel off is not forgiven
    # A square in front: all four kinds. The prediction's jump of 1.15 passes the five thresholds below it.
    square = np.full((9, 9), 4.0, np.float32)
    square[3:6, 3:6] = 2.0
    assert boundary_f1(square, square) == pytest.approx(1.0)
    weak = np.where(square == 2.0, np.float32(4 / 1.15), square)
    thresholds = np.linspace(1.05, 1.25, 10)
    assert boundary_f1(weak, square) == pytest.approx(thresholds[:5].sum() / thresholds.sum())


def test_boundary_f1_equals_plain_loops() -> None:
    rng = np.random.default_rng(5)
    truth = rng.choice([1.0, 1.12, 1.3, np.inf], (12, 10), p=[0.4, 0.3, 0.2, 0.1]).astype(np.float32)
    depth = np.where(np.isfinite(truth), truth, 2) * rng.choice([0.9, 1.0, 1.0, 1.07], (12, 10)).astype(np.float32)
    total = weight = 0.0
    for t in np.linspace(1.05, 1.25, 10):
        precision, recall = [], []
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            found, true = set(), set()
            for y in range(12):
                for x in range(10):
                    a, b = y + dy, x + dx
                    if not (0 <= a < 12 and 0 <= b < 10 and math.isfinite(truth[y, x]) and math.isfinite(truth[a, b])):
                        continue
                    found |= {(y, x)} if (1 / depth[y, x]) / (1 / depth[a, b]) > t else set()
                    true |= {(y, x)} if (1 / truth[y, x]) / (1 / truth[a, b]) > t else set()
            precision.append(len(found & true) / max(len(found), 1))
            recall.append(len(found & true) / max(len(true), 1))
        p, r = float(np.mean(precision)), float(np.mean(recall))
        total += t * (2 * p * r / (p + r) if p + r else 0)
        weight += t
    assert boundary_f1(depth, truth) == pytest.approx(total / weight, rel=1e-6)


def test_no_edges_no_figure() -> None:
    flat, unknown = np.full((5, 6), 3.0, np.float32), np.full((5, 6), np.nan, np.float32)
    for truth in (flat, unknown):
        assert math.isnan(boundary_f1(STEP[:, :1] * np.ones((4, 6), np.float32), truth[:4]))
        assert math.isnan(soft_edge_error(STEP, truth[:4], 50.0))
        assert not edge_band(truth).any()
    assert math.isnan(soft_edge_error(np.full_like(STEP, np.nan), STEP, 50.0))
