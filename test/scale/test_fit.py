"""The fit finds what was put in, whatever up to half of the points say; the tracker smooths, holds, and forgets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_retrofit_ros.scale.fit import (
    FEWEST_POINTS,
    HOLD_S,
    SMOOTHING_S,
    Correction,
    Fit,
    Mode,
    NoFit,
    ScaleTracker,
    fit,
    residual,
)

SECOND = 1_000_000_000
MAX_RESIDUAL = 0.15


def scene(count: int = 400, seed: int = 0) -> np.ndarray:
    """True depths [m], of a room."""
    return np.random.default_rng(seed).uniform(0.8, 9.0, count)


def predicted(truth: np.ndarray, scale: float, shift: float, inverse: bool) -> np.ndarray:
    """The depth that ``scale·d + shift`` (of 1/d where ``inverse``) turns into ``truth``."""
    return scale / (1 / truth - shift) if inverse else (truth - shift) / scale


def spoiled(truth: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    """With ``share`` of the points on something behind or in front."""
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(truth)) < share * len(truth)
    return np.where(wrong, truth * rng.uniform(1.5, 6.0, len(truth)), truth)


def found(result: Fit | NoFit) -> Fit:
    assert isinstance(result, Fit), result
    return result


@pytest.mark.parametrize(
    ("mode", "scale", "shift", "inverse"),
    [
        ("scale", 2.5, 0.0, False),
        ("scale", 0.01, 0.0, False),
        ("scale-shift", 2.5, 0.05, False),
        ("scale-shift", 2.5, 0.05, True),
        ("scale-shift", 0.01, 0.0, True),
    ],
)
@pytest.mark.parametrize("outliers", [0.0, 0.2, 0.45])
def test_the_correction_is_found_among_outliers(mode: Mode, scale: float, shift: float, outliers: float, inverse: bool) -> None:
    truth = scene()
    noise = 1 + 0.005 * np.random.default_rng(2).standard_normal(len(truth))
    result = found(fit(predicted(truth, scale, shift, inverse), spoiled(truth * noise, outliers), mode, inverse, MAX_RESIDUAL))
    again = result.correction.apply(torch.from_numpy(predicted(truth, scale, shift, inverse)).float()).numpy()
    # A median among one-sided outliers is off by what the noise allows; nothing else is.
    np.testing.assert_allclose(again, truth, rtol=0.012)
    assert result.inliers == pytest.approx((1 - outliers) * len(truth), abs=0.03 * len(truth))
    assert result.points == len(truth)


def test_least_squares_would_not_do() -> None:
    """The counterpart of the test above: its outliers matter."""
    truth = scene()
    seen, depth = spoiled(truth, 0.45), predicted(truth, 2.5, 0.05, False)
    scale, shift = np.linalg.lstsq(np.stack((depth, np.ones_like(depth)), axis=1), seen, rcond=None)[0]
    assert np.median(np.abs(scale * depth + shift - truth) / truth) > 0.2


def test_it_is_the_same_each_time_and_in_any_order() -> None:
    truth = scene()
    depth, seen = predicted(truth, 1.7, 0.1, True), spoiled(truth, 0.3)
    first = fit(depth, seen, "scale-shift", True, MAX_RESIDUAL)
    assert fit(depth, seen, "scale-shift", True, MAX_RESIDUAL) == first
    order = np.random.default_rng(5).permutation(len(truth))
    np.testing.assert_allclose(
        found(fit(depth[order], seen[order], "scale-shift", True, MAX_RESIDUAL)).correction.scale, found(first).correction.scale
    )


def test_what_is_no_depth_is_left_out() -> None:
    truth = scene(100)
    depth = truth / 2
    broken = np.array([np.nan, np.inf, -1.0, 0.0])
    result = found(
        fit(np.concatenate((depth, broken, np.ones(4))), np.concatenate((truth, np.ones(4), broken)), "scale", False, MAX_RESIDUAL)
    )
    assert result.points == 100 and result.correction.scale == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        (np.empty(0), "only 0"),
        (scene(FEWEST_POINTS - 1), f"only {FEWEST_POINTS - 1}"),
        (scene(200, seed=7) ** 2, "disagree"),
    ],
)
def test_why_there_is_none_is_told_in_one_line(truth: np.ndarray, told: str) -> None:
    depth = scene(200, seed=3)[: len(truth)]
    result = fit(depth, truth, "scale-shift", False, MAX_RESIDUAL)
    assert isinstance(result, NoFit) and told in result.why and "\n" not in result.why
    assert result.disagree is (told == "disagree")


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_wall_tells_a_scale_and_leaves_the_shift(shift: float) -> None:
    truth = np.random.default_rng(0).uniform(2.0, 2.05, 200)
    result = found(fit(predicted(truth, 1.5, shift, False), truth, "scale-shift", False, MAX_RESIDUAL, shift))
    assert result.correction.shift == shift
    assert result.correction.scale == pytest.approx(1.5, rel=1e-6)


TOO_ALIKE = "sparse depths lie within 2.03 to 2.27 m, too alike to tell the shift: let them cover near and far"


def nearby(far_m: float = 2.3) -> np.ndarray:
    """True depths from 2 m on."""
    return np.linspace(2.0, far_m, 301)


def test_a_shift_of_inverse_depth_that_nothing_tells_is_no_shift_of_zero() -> None:
    """Near 2 m a scale alone fits well, at any shift; 20 m would come out as 3.2 m."""
    truth = nearby()
    depth = 1 / (0.5 / truth + 0.4)  # spreads less than the truth; where it spreads more, that tells nothing either
    assert fit(depth, truth, "scale-shift", True, MAX_RESIDUAL) == NoFit(TOO_ALIKE)
    stretched = 1 / (1 / truth - 0.42)
    assert np.percentile(stretched, 90) > 2 * np.percentile(stretched, 10)
    assert fit(stretched, truth, "scale-shift", True, MAX_RESIDUAL) == NoFit(TOO_ALIKE)


def test_outliers_tell_no_shift_either() -> None:
    """A third of the points on something else, and what agrees is a wall still."""
    truth = nearby()
    seen = np.where(np.arange(len(truth)) % 3 == 0, truth * np.random.default_rng(0).uniform(1.5, 6.0, len(truth)), truth)
    result = fit(1 / (0.5 / truth + 0.4), seen, "scale-shift", True, MAX_RESIDUAL)
    assert isinstance(result, NoFit) and "too alike" in result.why and not result.disagree


def test_a_shift_that_was_known_is_kept_in_front_of_a_wall() -> None:
    tracker, room, wall = ScaleTracker("scale-shift", MAX_RESIDUAL), scene(), nearby()
    tracker.update(0, 1 / (0.5 / wall + 0.4), wall, True)
    assert tracker.correction is None and tracker.problem == TOO_ALIKE
    tracker.update(SECOND // 10, 1 / (0.5 / room + 0.4), room, True)
    tracker.update(SECOND // 5, 1 / (0.5 / wall + 0.4), wall, True)
    assert tracker.correction is not None and tracker.problem == ""
    assert tracker.correction.shift == pytest.approx(-0.8) and tracker.correction.scale == pytest.approx(2.0)


def test_what_becomes_no_depth_is_unknown() -> None:
    depth = torch.tensor([[0.5, 1.0, 4.0], [float("nan"), float("inf"), 0.1]])
    behind = Correction(1.0, -0.6, False).apply(depth)
    np.testing.assert_allclose(behind, [[np.nan, 0.4, 3.4], [np.nan, np.nan, np.nan]], rtol=1e-6)
    sky = Correction(1.0, -0.25, True).apply(depth)
    np.testing.assert_allclose(sky, [[1 / 1.75, 1 / 0.75, np.nan], [np.nan, np.nan, 1 / 9.75]], rtol=1e-6)
    assert depth[0, 0] == 0.5, "the frame itself is not touched"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats() | st.floats(0.125, 64), min_size=20, max_size=60),
    st.lists(st.floats() | st.floats(0.125, 64), min_size=20, max_size=60),
    st.sampled_from([("scale", False), ("scale-shift", False), ("scale-shift", True)]),
)
def test_any_numbers_give_a_usable_correction_or_one_line(depth: list[float], truth: list[float], how: tuple[Mode, bool]) -> None:
    count = min(len(depth), len(truth))
    with np.errstate(all="ignore"):
        result = fit(np.array(depth[:count]), np.array(truth[:count]), *how, MAX_RESIDUAL)
    if isinstance(result, NoFit):
        assert "\n" not in result.why
    else:
        assert 0 < result.correction.scale < np.inf and np.isfinite(result.correction.shift)
        assert 0 <= result.residual <= MAX_RESIDUAL and result.inliers <= result.points


def test_it_is_smoothed_with_its_time_constant() -> None:
    tracker, truth = ScaleTracker("scale", MAX_RESIDUAL), scene()
    tracker.update(0, truth, truth, False)
    tracker.update(round(SMOOTHING_S * SECOND), truth, 1.05 * truth, False)
    assert tracker.correction is not None and tracker.last_fit is not None
    assert tracker.correction.scale == pytest.approx(1.05 - 0.05 * np.exp(-1))
    assert tracker.last_fit.correction.scale == pytest.approx(1.05) and tracker.last_fit.residual == pytest.approx(0)
    assert tracker.residual == pytest.approx(0.05 * np.exp(-1) / 1.05), "of what was applied"


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("factor", [0.5, 0.9, 1.15, 2.0])
def test_a_scale_that_jumps_is_followed_at_once(factor: float, inverse: bool) -> None:
    """Smoothing is for noise: of a change it would make a depth that no sensor would confirm."""
    tracker, truth = ScaleTracker("scale-shift", MAX_RESIDUAL), scene()
    depth = predicted(truth, 1.0, 0.05, inverse)
    tracker.update(0, depth, truth, inverse)
    tracker.update(SECOND // 10, depth, factor * truth, inverse)
    assert tracker.correction is not None and tracker.problem == ""
    applied = tracker.correction.apply(torch.from_numpy(depth).float()).numpy()
    np.testing.assert_allclose(applied, factor * truth, rtol=1e-3)
    assert tracker.residual == pytest.approx(0, abs=1e-6)


def test_the_residual_is_that_of_what_is_applied() -> None:
    truth = scene()
    assert residual(Correction(1.0, 0.0, False), truth, 2 * truth) == pytest.approx(0.5)
    assert residual(Correction(1.0, 0.0, True), truth, 2 * truth) == pytest.approx(1.0)
    assert residual(Correction(0.5, 0.0, True), np.append(truth, np.nan), np.append(2 * truth, 1.0)) == pytest.approx(0.0)


def test_noise_from_frame_to_frame_is_reduced() -> None:
    tracker, rng = ScaleTracker("scale-shift", MAX_RESIDUAL), np.random.default_rng(0)
    raw, smooth = [], []
    for frame in range(100):
        truth = scene(seed=frame)
        tracker.update(frame * SECOND // 10, truth / rng.normal(2.0, 0.04), truth, False)
        assert tracker.correction is not None and tracker.last_fit is not None
        raw.append(tracker.last_fit.correction.scale)
        smooth.append(tracker.correction.scale)
    assert np.std(smooth[20:]) < 0.5 * np.std(raw[20:])
    assert np.mean(smooth[20:]) == pytest.approx(2.0, abs=0.05)


def test_it_holds_for_a_while_without_sparse_depth_and_then_is_gone() -> None:
    tracker, truth = ScaleTracker("scale", MAX_RESIDUAL), scene()
    tracker.update(10 * SECOND, truth, 2 * truth, False)
    tracker.miss(10 * SECOND + round(HOLD_S * SECOND), False, "no sparse depth")
    assert tracker.correction is not None and tracker.problem == "no sparse depth"
    tracker.miss(10 * SECOND + round(HOLD_S * SECOND) + 1, False, "no sparse depth")
    assert tracker.correction is None


@pytest.mark.parametrize(("stamp_ns", "inverse"), [(9 * SECOND, False), (10 * SECOND + 1, True)])
def test_time_that_goes_back_and_another_kind_of_depth_begin_anew(stamp_ns: int, inverse: bool) -> None:
    tracker, truth = ScaleTracker("scale-shift", MAX_RESIDUAL), scene()
    tracker.update(10 * SECOND, truth, 2 * truth, False)
    tracker.update(stamp_ns, truth, 2.05 * truth, inverse)
    assert tracker.correction is not None
    assert tracker.correction.scale == pytest.approx(1 / 2.05 if inverse else 2.05), "not smoothed with what no longer holds"


def test_a_frame_that_cannot_be_fitted_keeps_the_last_correction() -> None:
    tracker, truth = ScaleTracker("scale", MAX_RESIDUAL), scene()
    tracker.update(0, truth, 2 * truth, False)
    tracker.update(SECOND // 2, truth[:3], truth[:3], False)
    assert tracker.correction is not None and tracker.correction.scale == pytest.approx(2.0)
    assert "only 3" in tracker.problem
    tracker.update(SECOND, truth, 2 * truth, False)
    assert tracker.problem == ""


def test_a_fit_that_is_worse_than_allowed_is_none_and_says_by_how_much() -> None:
    """Half of the points within the limit, or it is not metres."""
    truth = scene()
    depth = truth * np.exp(np.random.default_rng(4).normal(0.0, 0.3, len(truth)))
    loose = found(fit(depth, truth, "scale", False, 1.0))
    assert 0.15 < loose.residual < 0.3
    assert fit(depth, truth, "scale", False, loose.residual) == loose
    strict = fit(depth, truth, "scale", False, 0.15)
    assert isinstance(strict, NoFit) and strict.disagree
    assert f"median relative error {loose.residual:.2g}, max_residual is 0.15" in strict.why


def test_disparity_with_a_shift_is_no_matter_of_scale() -> None:
    """What the limit alone would let pass: a scale of disparity whose shift is unknown leaves the far end wrong."""
    truth = scene()
    depth = predicted(truth, 0.8, 0.05, True)
    by_scale = depth * np.median(truth / depth)
    assert np.abs(by_scale / truth - 1).max() > 0.15
    with pytest.raises(ValueError, match="use scale-shift"):
        fit(depth, truth, "scale", True, 1.0)
    again = found(fit(depth, truth, "scale-shift", True, MAX_RESIDUAL)).correction.apply(torch.from_numpy(depth).float()).numpy()
    np.testing.assert_allclose(again, truth, rtol=1e-4)


def test_a_disagreement_holds_for_a_while_without_sparse_depth_and_until_a_fit() -> None:
    tracker, truth = ScaleTracker("scale", MAX_RESIDUAL), scene()
    tracker.update(0, truth[:3], truth[:3], False)
    assert not tracker.disagree, "too few say nothing"
    tracker.update(0, truth, scene(seed=9), False)
    assert tracker.disagree and tracker.correction is None
    tracker.miss(round(HOLD_S * SECOND), False, "no sparse depth")
    assert tracker.disagree
    tracker.miss(round(HOLD_S * SECOND) + 1, False, "no sparse depth")
    assert not tracker.disagree
    tracker.update(2 * SECOND, truth, scene(seed=9), False)
    tracker.update(2 * SECOND, truth, truth, False)
    assert not tracker.disagree
    tracker.update(2 * SECOND, truth, scene(seed=9), False)
    assert tracker.disagree and tracker.correction is not None
    tracker.reset()
    assert not tracker.disagree
