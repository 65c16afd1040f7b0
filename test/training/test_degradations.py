"""Simulated coarse models: always usable, repeatable, and wrong in the ways that real ones are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.selection.uncertainty import entropy
from depth_retrofit_ros.training.degradations import (
    KINDS,
    LEVELS,
    LONG_SIDES,
    MILD,
    REAL,
    STRONG,
    Degradation,
    _affine_inverse,
    _blur,
    _displace,
    _grow_near,
    _lose_thin_structures,
    _random_size,
    _smaller,
    _steps,
    _stored,
    point_sampled,
    random_degradation,
    simulate_coarse,
)

H, W = 432, 768


def answer(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coarse depth and its doubt, the entropy of the features."""
    depth, features = simulate_coarse(np.random.default_rng(seed), room())
    return depth, entropy(torch.from_numpy(features)).numpy()


def room() -> np.ndarray:
    """A slanted floor, a box in front of it, a pole of three pixels and a far background, float32 m."""
    return np.kron(small_room(), np.ones((3, 3), np.float32))


def small_room() -> np.ndarray:
    """The same at a third of the size."""
    depth = np.repeat(np.linspace(30, 2, H // 3, dtype=np.float32)[:, None], W // 3, 1)
    depth[30:100, 60:140] = 3.0
    depth[20:, 200] = 1.5
    depth[:20] = 150.0
    return depth


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", [MILD, REAL])
def test_always_a_depth_and_an_uncertainty(seed: int, kind: Degradation) -> None:
    depth, features = simulate_coarse(np.random.default_rng(seed), room(), kind)
    assert depth.dtype == features.dtype == np.float32
    assert features.shape == (2, *depth.shape)
    assert LONG_SIDES[0] <= max(depth.shape) <= LONG_SIDES[1] and depth.shape[1] / depth.shape[0] == pytest.approx(W / H, rel=0.03)
    assert np.isfinite(depth).all() and depth.min() > 0
    assert np.isfinite(features).all()


def test_unwarped_depth_is_right_but_for_its_edges() -> None:
    def error(seed: int, warped: bool) -> float:
        depth, _ = simulate_coarse(np.random.default_rng(seed), room(), MILD, warped=warped)
        true = cv2.resize(room(), (depth.shape[1], depth.shape[0]), interpolation=cv2.INTER_AREA)
        return float(np.median(np.abs(np.log(depth / true))))

    assert max(error(seed, False) for seed in range(12)) < 0.1
    assert np.median([error(seed, True) for seed in range(12)]) > 0.2


def test_strong_degradation_loses_moves_and_smears_more() -> None:
    """Over many maps, of one plate five pixels wide: how often it is lost, how far moved, how smeared."""
    log = np.log(np.full((60, 80), 6.0))
    log[10:50, 40:45] = np.log(2.0)
    lost, moved, smeared = [], [], []
    for how in (MILD, STRONG):
        seeds = [np.random.default_rng(seed) for seed in range(40)]
        lost.append(np.mean([_lose_thin_structures(rng, log, how.thinner) != log for rng in seeds]))
        moved.append(np.mean([np.abs(_displace(rng, log, how.moved) - log) for rng in seeds]))
        smeared.append(np.mean([np.abs(_blur(rng, log, how.smeared) - log) for rng in seeds]))
    assert lost[1] > 1.5 * lost[0] and moved[1] > 1.5 * moved[0] and smeared[1] > 1.2 * smeared[0]


@pytest.mark.parametrize("shape", [(768, 432), (192, 256), (16, 256)])
@pytest.mark.parametrize("kind", [MILD, REAL])
def test_any_shape_even_without_any_edge(shape: tuple[int, int], kind: Degradation) -> None:
    for seed in range(6):
        depth, features = simulate_coarse(np.random.default_rng(seed), np.full(shape, 4.0, np.float32), kind)
        assert np.isfinite(depth).all() and depth.min() > 0
        assert features.shape == (2, *depth.shape) and min(depth.shape) >= 16


def test_same_seed_same_map_other_seed_another() -> None:
    for kind in (MILD, REAL):
        first, again, other = (simulate_coarse(np.random.default_rng(s), room(), kind) for s in (3, 3, 4))
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_the_truth_is_not_touched() -> None:
    depth = room()
    for kind in (MILD, REAL):
        simulate_coarse(np.random.default_rng(0), depth, kind)
    np.testing.assert_array_equal(depth, room())


def test_overall_order_of_depths_survives() -> None:
    """However wrong, the answer resembles the scene: rank correlation with the truth."""
    for seed in range(6):
        depth, _ = simulate_coarse(np.random.default_rng(seed), room())
        rows = (np.arange(depth.shape[0]) + 0.5) / depth.shape[0] * H
        columns = (np.arange(depth.shape[1]) + 0.5) / depth.shape[1] * W
        truth = room()[np.ix_(rows.astype(int), columns.astype(int))]
        ranks = [np.argsort(np.argsort(m.ravel(), kind="stable")) for m in (depth, truth)]
        assert np.corrcoef(ranks[0], ranks[1])[0, 1] > 0.8


def test_doubt_is_higher_at_true_edges_or_tells_nothing() -> None:
    told = 0
    for seed in range(12):
        _, doubt = answer(seed)
        if np.ptp(doubt) == 0:
            continue
        told += 1
        h, w = doubt.shape
        rows = np.arange(100 * h // H, 290 * h // H)
        at_edge = np.concatenate([doubt[rows, 180 * w // W], doubt[rows, 420 * w // W]]).mean()
        flat = doubt[105 * h // H : 285 * h // H, 260 * w // W : 340 * w // W].mean()
        assert at_edge > 1.3 * flat
    assert 4 <= told < 12


def test_relative_depth_is_affine_in_inverse_depth_and_keeps_the_order() -> None:
    depth = np.random.default_rng(0).uniform(1, 40, (20, 30)).astype(np.float32)
    for seed in range(20):
        relative = _affine_inverse(np.random.default_rng(seed), depth)
        assert np.isfinite(relative).all() and relative.min() > 0
        line = np.polyfit(1 / depth.ravel(), 1 / relative.ravel(), 1)
        bounded = 1 / relative.ravel() <= 0.0201 * (1 / depth).max()
        fit = np.polyval(line, 1 / depth.ravel())
        assert bounded.any() or np.abs(1 / relative.ravel() - fit).max() < 1e-5
        order = np.argsort(depth.ravel())
        assert (np.diff(relative.ravel()[order]) >= 0).all()


def test_thin_near_structures_are_lost_and_nothing_else() -> None:
    """The pole of one column becomes background where the closing acts; the box, far thicker than the kernel, stays."""
    log = np.log(small_room())
    lost = [_lose_thin_structures(np.random.default_rng(seed), log, MILD.thinner) for seed in range(8)]
    assert any((out[30:, 200] > log[30:, 200] + 0.1).mean() > 0.3 for out in lost)
    for out in lost:
        assert (out >= log).all()
        np.testing.assert_array_equal(out[30:100, 65:135], log[30:100, 65:135])  # rows to the very edge: nothing is moved


def test_near_things_grow_by_a_pixel() -> None:
    log = np.full((20, 30), 2.0)
    log[5:10, 10:20] = 1.0
    wanted = log.copy()
    wanted[5:10, [9, 20]] = wanted[[4, 10], 10:20] = 1.0
    np.testing.assert_array_equal(_grow_near(log), wanted)


def test_displacement_moves_by_at_most_a_few_pixels_and_makes_no_new_depth() -> None:
    log = np.log(small_room())
    for seed in range(4):
        moved = _displace(np.random.default_rng(seed), log, MILD.moved)
        assert log.min() - 1e-5 <= moved.min() and moved.max() <= log.max() + 1e-5
        np.testing.assert_allclose(moved[45:85, 75:125], log[45:85, 75:125], atol=1e-5)


def test_resizing_keeps_the_grids_aligned() -> None:
    """The mean position of the box's left edge, as a share of the width, stays."""
    log = np.zeros((H, W), np.float32)
    log[:, 300:] = 1.0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        small = _smaller(rng, log, _random_size(rng, log.shape, LONG_SIDES))
        steps = np.diff(small.mean(0))
        edge = (steps * (np.arange(steps.size) + 1)).sum() / steps.sum()
        assert edge / small.shape[1] * W == pytest.approx(300, abs=0.5 * W / small.shape[1] + 1)


def test_steps_by_hand() -> None:
    log = np.zeros((3, 5), np.float32)
    log[:, 3:] = 2.0
    np.testing.assert_array_equal(_steps(log), np.tile([0, 0, 2, 2, 0], (3, 1)))


def test_half_of_the_simulated_models_are_like_real_ones() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_degradation(rng) for _ in range(400)]
    for kind, share in KINDS:
        assert drawn.count(kind) / 400 == pytest.approx(share, abs=0.08)
    assert sum(share for _, share in KINDS) == pytest.approx(1) and dict(KINDS)[REAL] == 0.5


def test_a_stored_map_is_clamped_or_has_at_most_256_values() -> None:
    depth = np.random.default_rng(0).uniform(1, 40, (60, 80)).astype(np.float32)
    clamped, stepped = 0, 0
    for seed in range(40):
        out = _stored(np.random.default_rng(seed), depth)
        assert out.dtype == np.float32 and out.min() > 0.999 and out.max() < 40.001
        assert (np.diff(out.ravel()[np.argsort(depth.ravel())]) >= 0).all()
        few, cut = np.unique(out).size <= LEVELS + 1, (out == out.min()).sum() > 20 or (out == out.max()).sum() > 20
        assert few or cut
        stepped, clamped = stepped + few, clamped + (cut and not few)
    assert stepped > 15 and clamped > 8


def test_a_map_of_one_depth_can_be_stored() -> None:
    for seed in range(8):
        np.testing.assert_allclose(_stored(np.random.default_rng(seed), np.full((20, 30), 4.0, np.float32)), 4.0, rtol=1e-6)


def test_smeared_models_are_not_stored_in_eight_bit_and_real_ones_sometimes_are() -> None:
    few = {
        kind: np.mean([np.unique(simulate_coarse(np.random.default_rng(s), room(), kind)[0]).size <= LEVELS + 1 for s in range(60)])
        for kind in (STRONG, REAL)
    }
    assert few[STRONG] < 0.05 and 0.1 < few[REAL] < 0.5


def test_a_view_takes_the_depth_at_its_pixel_centres_and_puts_the_sky_behind() -> None:
    depth = np.arange(1, 49, dtype=np.float64).reshape(6, 8)
    depth[0, 0], depth[1, 1] = np.nan, np.inf
    np.testing.assert_array_equal(point_sampled(depth, 4, 2.5)[:, 1:], depth[1::2, 3::2])
    assert point_sampled(depth, 4, 2.5)[0, 0] == 2.5 * 48 and point_sampled(depth, 4, 2.5).dtype == np.float32
    np.testing.assert_array_equal(point_sampled(depth, 100, 2.0)[2:], depth[2:])
