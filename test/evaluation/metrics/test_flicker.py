"""Flicker of hand-worked pairs of frames."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics.flicker import BLUR_PX, View, changes, flicker, static_pixels

SHAPE = (40, 60)
EVERYWHERE = np.ones(SHAPE, bool)


def view(depth: np.ndarray | float, *, image: int | np.ndarray = 100, reference: np.ndarray | None = None) -> View:
    pixels = np.full((*SHAPE, 3), image, np.uint8) if isinstance(image, int) else image
    selected = np.zeros(SHAPE, bool)
    selected[:10] = True
    return View(pixels, reference, {"refined": np.broadcast_to(np.float32(depth), SHAPE)}, selected)


def test_changes_of_a_known_case() -> None:
    before = np.array([[1.0, 2.0, 3.0, 4.0, np.nan, 6.0]], np.float32)
    after = before * np.exp(np.array([[0.1, -0.2, 0.1, 0.4, 0.9, 0.9]], np.float32))
    where = np.array([[True, True, True, True, True, False]])
    figures = changes(before, after, where)
    assert figures["median"] == pytest.approx(0.15, abs=1e-6)  # of 0.1, 0.1, 0.2, 0.4
    assert figures["p95"] == pytest.approx(0.2 + 0.85 * 0.2, abs=1e-6)
    assert figures["drift"] == pytest.approx(0.1, abs=1e-6)  # the median of -0.2, 0.1, 0.1, 0.4
    assert all(map(math.isnan, changes(before, after, np.zeros_like(where)).values()))


def test_a_map_that_grows_is_all_drift_and_one_that_shimmers_none() -> None:
    grown = flicker(view(2.0), view(2.2))
    assert grown is not None and grown.static_share == 1.0
    assert grown.static["refined"] == pytest.approx(dict.fromkeys(("median", "p95", "drift"), math.log(1.1)), abs=1e-6)
    checkers = np.where(np.indices(SHAPE).sum(axis=0) % 2, 1.1, 1 / 1.1)
    shimmer = flicker(view(2.0), view(2.0 * checkers))
    assert shimmer is not None
    assert shimmer.static["refined"]["median"] == pytest.approx(math.log(1.1), abs=1e-6)
    assert shimmer.static["refined"]["drift"] == pytest.approx(0.0, abs=1e-6)


def test_a_frame_shown_twice_does_not_flicker() -> None:
    same = flicker(view(2.0), view(2.0))
    assert same is not None and set(same.static["refined"].values()) == {0.0}


def test_refined_pixels_are_those_of_either_frame() -> None:
    after = np.full(SHAPE, 2.0, np.float32)
    after[:10] *= np.exp(np.float32(0.5))  # only where the first frame was refined
    result = flicker(view(2.0), View(view(2.0).image, None, {"refined": after}, np.zeros(SHAPE, bool)))
    assert result is not None
    assert result.refined["refined"]["median"] == pytest.approx(0.5, abs=1e-6)
    assert result.static["refined"]["median"] == 0.0


def test_what_changed_its_colour_is_not_static_nor_is_its_surround() -> None:
    moved = np.full((*SHAPE, 3), 100, np.uint8)
    moved[20:30, 20:30, 2] = 160  # one channel is enough
    static = static_pixels(view(1.0), view(1.0, image=moved))
    reach = BLUR_PX - 1  # half of the blur and half of the window, each (BLUR_PX - 1) / 2
    rows, columns = np.nonzero(~static)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20 - reach, 29 + reach, 20 - reach, 29 + reach)


def test_noise_is_not_motion() -> None:
    rng = np.random.default_rng(0)
    noisy = [(100 + rng.normal(0, 5, (*SHAPE, 3))).round().clip(0, 255).astype(np.uint8) for _ in range(2)]
    assert static_pixels(view(1.0, image=noisy[0]), view(1.0, image=noisy[1])).mean() > 0.95


def test_a_surface_without_texture_that_moves_is_told_by_the_sensor() -> None:
    before, after = np.full(SHAPE, 2.0, np.float32), np.full(SHAPE, 2.0, np.float32)
    after[:, :20], before[:, 40:] = 1.8, np.nan  # where one frame does not know it, colour alone decides
    static = static_pixels(view(1.0, reference=before), view(1.0, reference=after))
    assert not static[:, :20].any() and static[:, 20 + BLUR_PX // 2 :].all()
    assert static_pixels(view(1.0, reference=before), view(1.0)).all()


def test_a_cut_does_not_count() -> None:
    rng = np.random.default_rng(0)
    assert flicker(view(1.0), view(1.0, image=rng.integers(0, 256, (*SHAPE, 3), np.uint8))) is None
    other = View(np.zeros((8, 8, 3), np.uint8), None, {"refined": np.ones((8, 8), np.float32)}, np.ones((8, 8), bool))
    assert flicker(view(1.0), other) is None
