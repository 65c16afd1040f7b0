"""Blur by depth, shake and vignetting: in linear light, of the stated size, and the same in a window as in the whole picture."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.training.scenes.lens import LARGEST_PX, Lens, defocused, disc_kernel, path_kernel


def picture(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise, on two surfaces."""
    image = np.random.default_rng(seed).random((90, 120, 3)).astype(np.float32)
    depth = np.full((90, 120), 4.0, np.float32)
    depth[:, 60:] = 1.0
    return image, depth


def test_the_usual_lens_changes_nothing() -> None:
    image, depth = picture()
    assert Lens().image(image, depth, (0, 0), (120, 90), 1.0) is image
    assert Lens().margin_px == 0


def test_what_is_in_focus_stays_sharp_and_the_rest_is_blurred_as_stated() -> None:
    image, depth = picture()
    lens = Lens(focus_m=1.0, aperture_px=4.0)
    np.testing.assert_allclose(lens.radius_px(np.array([1.0, 4.0, np.inf, 0.5, 0.01])), [0, 3, 4, -4, -LARGEST_PX])
    out = lens.image(image, depth, (0, 0), (120, 90), 1.0)
    np.testing.assert_allclose(out[:, 70:], image[:, 70:], atol=2e-3)
    linear = (image**2.2)[20:70, 5:50]
    blurred = (out**2.2)[20:70, 5:50]
    assert blurred.std() == pytest.approx(linear.std() * np.sqrt((disc_kernel(3.0) ** 2).sum()), rel=0.15)
    assert blurred.mean() == pytest.approx((image**2.2)[:, :60].mean(), rel=0.02)


def test_a_near_thing_out_of_focus_spreads_over_what_is_behind_and_a_far_one_does_not() -> None:
    linear = np.zeros((60, 80, 3), np.float32)
    linear[:, :40] = 1.0
    near, far = np.full((60, 80), 5.0, np.float32), np.full((60, 80), 0.0, np.float32)
    near[:, :40], far[:, :40] = -5.0, 5.0
    far[:, 40:] = 0.0
    spread = defocused(linear, np.where(near < 0, near, 0.0))  # bright and near, before a dark wall in focus
    assert spread[30, 42, 0] > 0.15 and abs(spread[30, 48, 0]) < 1e-6
    kept = defocused(linear, far)  # bright and far, behind a dark thing in focus
    np.testing.assert_allclose(kept[30, 41:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(kept[30, :39, 0], 1, atol=1e-3)


def test_a_moved_picture_is_the_mean_of_its_places() -> None:
    path = np.stack([np.linspace(-3, 3, 61), np.zeros(61)], 1)
    kernel = path_kernel(path)
    assert kernel.sum() == pytest.approx(1)
    rows, columns = np.nonzero(kernel > 1e-6)
    n = len(kernel) // 2
    assert set(rows - n) == {0} and columns.min() - n == -3 and columns.max() - n == 3
    moved = path_kernel(np.array([[2.0, 1.0], [2.0, 1.0]]))
    image, depth = picture()
    out = Lens(shake=np.array([[2.0, 1.0], [2.0, 1.0]])).image(image, depth, (0, 0), (120, 90), 1.0)
    assert moved.max() == pytest.approx(1)
    np.testing.assert_allclose(out[1:, 2:], image[:-1, :-2], atol=1e-3)  # to the right and downwards


def test_vignetting_darkens_the_corners_of_the_frame_not_of_the_window() -> None:
    image, depth = np.full((90, 120, 3), 0.5, np.float32), np.full((90, 120), 2.0, np.float32)
    lens = Lens(vignette=0.4)
    whole = lens.image(image, depth, (0, 0), (120, 90), 1.0)
    assert (whole[45, 60] / 0.5) ** 2.2 == pytest.approx(1, abs=1e-3)
    assert (whole[0, 0, 0] / 0.5) ** 2.2 == pytest.approx(0.6, abs=0.02)
    window = lens.image(image[:30, :40], depth[:30, :40], (80, 60), (120, 90), 1.0)
    np.testing.assert_allclose(window, whole[60:, 80:], atol=1e-5)
    view = lens.image(image[:45, :60], depth[:45, :60], (0, 0), (120, 90), 0.5)
    np.testing.assert_allclose(view, whole[::2, ::2], atol=0.01)


def test_a_window_with_its_margin_is_a_part_of_the_whole() -> None:
    image, depth = picture(1)
    depth[20:50, 30:80] = 2.0
    t = np.linspace(-2, 2, 9)
    lens = Lens(focus_m=2.0, aperture_px=1.5, shake=np.stack([t, 0.5 * t], 1), vignette=0.2)
    whole = lens.image(image, depth, (0, 0), (120, 90), 1.0)
    m = lens.margin_px
    around = slice(30 - m, 60 + m), slice(40 - m, 80 + m)
    part = lens.image(image[around], depth[around], (40 - m, 30 - m), (120, 90), 1.0)
    np.testing.assert_allclose(part[m:-m, m:-m], whole[30:60, 40:80], atol=2e-3)


def test_most_lenses_are_sharp() -> None:
    depth = np.random.default_rng(0).uniform(1, 9, (30, 40)).astype(np.float32)
    lenses = [Lens.random(np.random.default_rng(s), depth, 2560) for s in range(400)]
    assert 0.1 < np.mean([lens.aperture_px > 0 for lens in lenses]) < 0.35
    assert 0.05 < np.mean([len(lens.shake) > 1 for lens in lenses]) < 0.2
    assert all(lens.margin_px <= 24 and 1 <= lens.focus_m <= 9 and 0 <= lens.vignette <= 0.4 for lens in lenses)
    assert Lens.random(np.random.default_rng(0), np.full((4, 4), np.inf, np.float32), 1280).focus_m == 1.0
