"""Edges like those of foundation models: sharp, displaced without growing, and thin things dropped, faded, merged or drawn."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.training.traced_edges import PATCH, SKY, Traced, _border_blob, _flaws, _patch_grid, _rounded, _sky_of

H, W = 216, 384
KIND = Traced()
FAR, NEAR = np.log(6.0), np.log(2.0)


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def scene(columns: slice) -> np.ndarray:
    """A near plate before a far wall, ln m."""
    log = np.full((H, W), FAR, np.float32)
    log[20:200, columns] = NEAR
    return log


def crossings(log: np.ndarray) -> np.ndarray:
    """Where each row from 40 to 180 passes the middle depth first, in columns."""
    rows = np.arange(40, 180)
    first = (log[rows] < (FAR + NEAR) / 2).argmax(1)
    before, after = log[rows, first - 1], log[rows, first]
    return np.asarray(first - 1 + (before - (FAR + NEAR) / 2) / (before - after) + 0.5)


def test_outlines_wander_by_about_a_pixel_here_and_there_by_many_and_do_not_grow() -> None:
    moved, spread = [], []
    for rng in rngs(40):
        off = crossings(KIND._wandering(rng, scene(slice(100, 300)), 1.0)) - 100
        moved.append(off)
        spread.append(np.abs(np.diff(off)).mean())
    off = np.concatenate(moved)
    assert 0.3 <= np.median(np.abs(off)) <= 1.5
    assert np.quantile(np.abs(off), 0.9) >= 2.5 * 0.7
    assert abs(off.mean()) < 0.3
    assert np.mean(spread) < 0.5 * np.abs(off).mean()  # rows beside one another move alike


def test_a_displacement_is_in_pixels_of_the_answer() -> None:
    one, three = (
        np.mean([np.abs(crossings(KIND._wandering(rng, scene(slice(100, 300)), scale)) - 100).mean() for rng in rngs(30)])
        for scale in (1.0, 3.0)
    )
    assert 2 * one < three < 4.5 * one


def test_surfaces_are_left_where_they_have_no_outline() -> None:
    ramp = np.tile(np.linspace(0, 1, W, dtype=np.float32), (H, 1))
    np.testing.assert_allclose(KIND._wandering(np.random.default_rng(0), ramp, 1.0), ramp, atol=1e-6)


def test_edges_are_one_to_four_pixels_wide() -> None:
    """10 to 90 % of the step, across the middle row, of the low-pass and the averaging alone."""
    widths = []
    for rng in rngs(40):
        row = KIND._smear(rng, scene(slice(100, 300)))[100, 60:140]
        share = (FAR - row) / (FAR - NEAR)
        widths.append(np.interp(0.9, share, np.arange(80)) - np.interp(0.1, share, np.arange(80)))
    assert np.min(widths) >= 0.8 and np.max(widths) <= 5.5 and 1.4 <= np.median(widths) <= 3.5


def test_thin_things_are_dropped_in_parts_and_thick_ones_stay() -> None:
    """Poles two pixels wide: over many maps about as many parts are lost as of real ones, broken along their length."""
    log = scene(slice(100, 140))
    log[20:200, 200:360:20] = log[20:200, 201:360:20] = NEAR
    kept, broken = [], 0
    for rng in rngs(40):
        out = KIND._drop_thin(rng, log)
        np.testing.assert_allclose(out[40:180, 104:136], NEAR, atol=1e-6)
        assert (out >= log - 1e-6).all() and out.max() <= FAR + 1e-6
        there = out[20:200, 200:360:20] < (FAR + NEAR) / 2
        kept.append(there.mean())
        broken += int(((there.mean(0) > 0.1) & (there.mean(0) < 0.9)).any())
    assert 0.2 < 1 - np.mean(kept) < 0.7
    assert broken > 10


def test_gaps_are_filled_with_something_between_near_and_far() -> None:
    log = scene(slice(100, 300))
    log[20:200, 150:250:10] = log[20:200, 151:250:10] = FAR
    filled = []
    for rng in rngs(40):
        out = KIND._merge(rng, log)
        assert (out <= log + 1e-6).all() and out.min() >= NEAR - 1e-6
        np.testing.assert_array_equal(out[:, 320:], log[:, 320:])
        filled.append((out[20:200, 150:250:10] < FAR - 0.1).mean())
    assert np.mean(np.array(filled) == 0) > 0.2 and np.max(filled) > 0.4


def test_what_is_thinner_than_a_pixel_is_drawn_or_averaged() -> None:
    """A wire of one pixel in a view four times finer: here at its own depth, there the mean of the pixel."""
    log = np.full((H, W), FAR, np.float32)
    log[:, 101] = NEAR
    lines = np.concatenate([KIND._drawn(rng, log, (W // 4, H // 4))[:, 25] for rng in rngs(20)])
    assert (lines < NEAR + 0.05).mean() > 0.2 and (lines > NEAR + 0.5).mean() > 0.2
    assert lines.min() > NEAR - 1e-5


def test_rounding_takes_corners_and_leaves_straight_outlines() -> None:
    log = scene(slice(100, 300))
    for rng in rngs(8):
        out = _rounded(rng, log)
        np.testing.assert_array_equal(out[60:160], log[60:160])
    assert any(_rounded(rng, log)[20, 100] > NEAR + 0.5 for rng in rngs(8))


def test_clouds_are_no_farther_than_the_sky_and_touch_nothing_else() -> None:
    log = scene(slice(100, 300))
    log[:15] = np.log(200.0)
    sky = log >= log.max() - SKY
    for rng in rngs(8):
        out = _sky_of(rng, log, sky)
        np.testing.assert_array_equal(out[15:], log[15:])
        assert (out[:15] <= log[:15]).all() and out[:15].mean() < np.log(20)


def test_flaws_keep_the_order_of_surfaces_and_are_small() -> None:
    for rng in rngs(20):
        out = _flaws(rng, scene(slice(100, 300)))
        assert out[40:180, 120:280].mean() < out[40:180, 320:].mean()
        assert np.abs(np.diff(out[40:180, 120:280], axis=1)).mean() < 0.03


def test_a_blob_leans_on_the_border() -> None:
    for rng in rngs(12):
        blob = np.abs(_border_blob(rng, (H, W)))
        row, column = np.unravel_index(blob.argmax(), blob.shape)
        assert row in (0, H - 1) or column in (0, W - 1)
        assert blob[H // 2, W // 2] < 0.1 * blob.max()


def test_the_patches_have_the_grid_of_a_vision_transformer() -> None:
    nearest = next(g for g in (_patch_grid(rng, (H, W)) for rng in rngs(20)) if np.unique(g[:PATCH, :PATCH]).size == 1)
    assert nearest.shape == (H, W)
    changes = np.nonzero(np.abs(np.diff(nearest[0])) > 0)[0] + 1
    assert (changes % PATCH == 0).all() and changes.size == (W - 1) // PATCH


@pytest.mark.parametrize("size", [(W, H), (128, 72), (64, 36), (16, 16)])
def test_an_answer_of_any_size(size: tuple[int, int]) -> None:
    for rng in rngs(4):
        out = KIND.answer(rng, scene(slice(100, 300)), size)
        assert out.shape == (size[1], size[0]) and out.dtype == np.float32 and np.isfinite(out).all()
