"""What the values of a stored map mean, kind by kind; and 8-bit steps that must not become edges."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.cli import coarse_maps
from depth_retrofit_ros.coarse.map_kinds import KINDS, Kind, step_of, to_depth, without_steps


def scene() -> np.ndarray:
    """A floor from 2 to 8 m, and a box 1.5 m away: ``float32 [60, 80]``."""
    depth = np.repeat(1 / np.linspace(1 / 8, 1 / 2, 60, dtype=np.float32)[:, None], 80, 1)
    depth += np.linspace(0, 0.01, 80, dtype=np.float32)
    depth[20:40, 30:50] = 1.5
    return depth


def stretched(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.min()) / (values.max() - values.min()), np.float32)


def test_the_command_offers_every_kind() -> None:
    assert coarse_maps.KINDS == KINDS


def test_depth_and_metres_are_what_they_are() -> None:
    depth, relative, metric = scene(), to_depth(scene(), "depth", False), to_depth(scene(), "metric", False)
    assert np.array_equal(relative.depth, depth) and np.array_equal(metric.depth, depth)
    assert (relative.claim.kind, metric.claim.kind) == ("up-to-scale", "metric")
    assert metric.claim.source(trust_scale=False) == "file" and relative.claim.source(trust_scale=False) is None


def test_whole_numbers_that_are_metric_are_millimetres_and_other_ones_have_no_unit() -> None:
    millimeters = np.rint(1000 * scene())
    np.testing.assert_allclose(to_depth(millimeters, "metric", True).depth, scene(), atol=0.0011)
    np.testing.assert_allclose(to_depth(millimeters, "depth", True).depth, 1000 * scene(), atol=1.1)


@pytest.mark.parametrize("kind", ["depth", "metric"])
def test_zero_and_nan_are_unknown_and_inf_is_sky(kind: Kind) -> None:
    values = scene()
    values[0, :3] = 0.0, np.nan, np.inf
    found = to_depth(values, kind, False).depth
    assert np.isnan(found[0, :2]).all() and np.isposinf(found[0, 2]) and np.array_equal(found[1:], values[1:])


def test_disparity_of_any_scale_and_both_ways_up() -> None:
    disparity = 1 / scene()
    for values, kind in (
        (37 * disparity, "disparity"),
        (stretched(disparity), "disparity"),
        (1 - stretched(disparity), "inverted-disparity"),
    ):
        found = to_depth(values, kind, False)  # type: ignore[arg-type]
        assert found.claim.inverse and np.isfinite(found.depth).all() and (found.depth > 0).all()
        order = np.argsort(scene(), axis=None)
        assert (np.diff(found.depth.flatten()[order]) >= -1e-5 * found.depth.max()).all()


def test_the_farthest_of_a_disparity_is_far_but_finite_and_follows_its_scale() -> None:
    disparity = stretched(1 / scene())
    one, hundred = (to_depth(scale * disparity, "disparity", False).depth for scale in (1.0, 100.0))
    assert one.max() == pytest.approx(100 / disparity.mean(), rel=1e-4)
    np.testing.assert_allclose(one, 100 * hundred, rtol=1e-4)


def test_disparity_below_zero_is_shifted_and_told() -> None:
    found = to_depth(1 / scene() - 0.4, "disparity", False)
    assert np.isfinite(found.depth).all() and any("below 0" in remark for remark in found.remarks)
    assert not to_depth(1 / scene(), "disparity", False).remarks


def test_normalized_depth_keeps_its_order_and_its_zero_is_the_nearest() -> None:
    values = stretched(scene())
    values[0, 0] = np.nan
    found = to_depth(values, "normalized", False)
    assert found.claim.kind == "affine" and "shift" in str(found.claim)
    assert np.isnan(found.depth[0, 0]) and np.count_nonzero(np.isnan(found.depth)) == 1
    assert np.nanmin(found.depth) == found.depth[values == 0].min() > 0
    np.testing.assert_allclose(found.depth[1:] - found.depth[1:].min(), values[1:] - values[1:].min(), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.5, 3.0])
def test_a_constant_map_is_a_constant_depth(kind: Kind, value: float) -> None:
    found = to_depth(np.full((6, 8), value, np.float32), kind, False).depth
    assert np.isfinite(found).all() and (found == found[0, 0]).all() and found[0, 0] > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_map_of_nothing_is_refused(kind: Kind, value: float) -> None:
    with pytest.raises(ValueError, match="nothing in it is known"):
        to_depth(np.full((6, 8), value, np.float32), kind, False)


@pytest.mark.parametrize("kind", ["depth", "metric"])
def test_depth_below_zero_is_refused(kind: Kind) -> None:
    with pytest.raises(ValueError, match="below 0: mark what is unknown as NaN or 0"):
        to_depth(scene() - 3, kind, False)


def ramp(levels: int) -> tuple[np.ndarray, np.ndarray]:
    """A slope with a box on it, in 0…1, and the same in so many steps."""
    fine = np.repeat(np.linspace(0, 1, 512, dtype=np.float32)[:, None] ** 2, 300, 1)
    fine[200:300, 100:200] = 0.9
    return fine, np.asarray(np.rint(fine * levels) / levels, np.float32)


def test_steps_are_seen_where_they_are() -> None:
    fine, steps = ramp(255)
    assert step_of(steps.flatten()) == pytest.approx(1 / 255, rel=1e-3)
    assert step_of(fine.flatten() + np.random.default_rng(0).uniform(0, 1e-4, fine.size).astype(np.float32)) == 0.0
    blurred = steps.flatten()
    blurred[::5000] += 1 / 765  # what a compression leaves between the steps
    assert step_of(blurred) == pytest.approx(1 / 255, rel=1e-3)
    assert step_of(np.array([0, 1] * 500, np.float32)) == 0.0  # a mask is no map in steps


def test_steps_are_smoothed_within_their_width_and_edges_stay() -> None:
    fine, steps = ramp(64)
    smooth = without_steps(steps, 1 / 64)
    assert np.abs(smooth - steps).max() <= 0.5 / 64 + 1e-6
    slope = np.s_[320:, :]  # bands of a few rows there
    assert np.abs(smooth - fine)[slope].mean() < 0.5 * np.abs(steps - fine)[slope].mean()
    edge = np.abs(smooth[220:280, 99] - smooth[220:280, 100])
    assert (edge > np.abs(fine[220:280, 99] - fine[220:280, 100]) - 1 / 64).all()


def test_what_is_unknown_stays_so_and_spoils_no_neighbour() -> None:
    _, steps = ramp(64)
    steps[400:410, 50:60] = np.nan
    smooth = without_steps(steps, 1 / 64)
    assert np.array_equal(np.isnan(smooth), np.isnan(steps))
    assert np.nanmax(np.abs(smooth - steps)) <= 0.5 / 64 + 1e-6
