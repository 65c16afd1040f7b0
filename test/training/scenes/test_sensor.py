"""The camera model: repeatable, of the stated noise and blur, and without colour mix-ups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_retrofit_ros.training.scenes.sensor import Sensor

PERFECT = Sensor(blur_px=0.0, gain=1.0, balance=np.ones(3, np.float32), noise=0.0, jpeg=0)
GRAY = np.full((80, 100, 3), 0.5, np.float32)


def test_a_perfect_sensor_only_rounds() -> None:
    image = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    np.testing.assert_array_equal(PERFECT.shoot(image, np.random.default_rng(0)), np.round(255 * image))


def test_same_seed_same_picture() -> None:
    image = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    shots = [Sensor.random(np.random.default_rng(s)).shoot(image, np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(shots[0], shots[1])
    assert not np.array_equal(shots[0], shots[2])
    assert all(s.dtype == np.uint8 and s.shape == (20, 30, 3) and s.flags.c_contiguous for s in shots)


def test_noise_has_the_stated_deviation_at_mid_grey() -> None:
    shot = replace(PERFECT, noise=0.03).shoot(GRAY, np.random.default_rng(0)) / 255.0
    assert shot.std() == pytest.approx(0.03, rel=0.05)
    averaged = replace(PERFECT, noise=0.03).shoot(GRAY, np.random.default_rng(0), pixel_scale=0.25) / 255.0
    assert averaged.std() == pytest.approx(0.03 / 4, rel=0.1)


def test_exposure_balance_and_clipping() -> None:
    shot = replace(PERFECT, gain=1.5, balance=np.array([1.0, 0.5, 2.0], np.float32)).shoot(GRAY, np.random.default_rng(0))
    assert shot[0, 0].tolist() == [191, 96, 255]


def test_blur_widens_an_edge_to_the_stated_sigma() -> None:
    image = np.zeros((5, 200, 3), np.float32)
    image[:, 100:] = 1
    profile = replace(PERFECT, blur_px=3.0).shoot(image, np.random.default_rng(0))[2, :, 1] / 255.0
    weight, x = np.diff(profile), np.arange(199) + 0.5
    mean = (weight * x).sum() / weight.sum()
    assert mean == pytest.approx(99.5, abs=0.05)
    assert np.sqrt((weight * (x - mean) ** 2).sum() / weight.sum()) == pytest.approx(3.0, rel=0.1)


def test_jpeg_keeps_colours_and_is_only_of_the_full_resolution() -> None:
    image = np.tile(np.array([0.9, 0.1, 0.3], np.float32), (32, 32, 1))
    image += np.random.default_rng(0).normal(0, 0.05, image.shape).astype(np.float32)
    plain = PERFECT.shoot(image, np.random.default_rng(0))
    coded = replace(PERFECT, jpeg=60).shoot(image, np.random.default_rng(0))
    assert not np.array_equal(coded, plain)
    np.testing.assert_allclose(coded.mean((0, 1)), plain.mean((0, 1)), atol=3)
    np.testing.assert_array_equal(replace(PERFECT, jpeg=60).shoot(image, np.random.default_rng(0), pixel_scale=0.5), plain)


def test_random_sensors_are_plausible() -> None:
    sensors = [Sensor.random(np.random.default_rng(s)) for s in range(200)]
    assert all(0.3 < s.blur_px < 1.2 and 0.4 < s.gain < 2.5 and s.noise >= 0 and 0 <= s.jpeg < 100 for s in sensors)
    assert 0.4 < np.mean([s.jpeg > 0 for s in sensors]) < 0.8


def test_varied_sensors_are_mostly_good() -> None:
    sensors = [Sensor.varied(np.random.default_rng(s)) for s in range(400)]
    assert np.median([s.noise for s in sensors]) < 0.01 < 0.03 < max(s.noise for s in sensors)
    assert 0.2 < np.mean([s.sharpen > 0 for s in sensors]) < 0.5
    compressed = [s.jpeg for s in sensors if s.jpeg]
    assert np.median(compressed) > 75 and min(compressed) < 50
    assert {s.full_chroma for s in sensors} == {True, False}


def test_the_image_processor_does_what_is_said() -> None:
    rng = np.random.default_rng(0)
    edge = np.full((20, 60, 3), 0.3, np.float32)
    edge[:, 30:] = 0.7
    halo = replace(PERFECT, sharpen=1.0, sharpen_px=1.5).shoot(edge, rng)[10, :, 0]
    assert halo.min() < 70 and halo.max() > 185 and halo[0] == 77 and halo[-1] == 179
    assert np.array_equal(replace(PERFECT, sharpen=1.0).shoot(edge, rng, pixel_scale=0.3), PERFECT.shoot(edge, rng, 0.3))
    toned = replace(PERFECT, tone=0.8).shoot(edge, rng)[10, :, 0]
    assert toned[0] < 77 and toned[-1] > 179
    assert replace(PERFECT, gamma=1.3).shoot(edge, rng)[0, 0, 0] == round(255 * 0.3**1.3)
    color = np.tile(np.array([0.6, 0.4, 0.5], np.float32), (8, 8, 1))
    assert replace(PERFECT, saturation=0.0).shoot(color, rng)[0, 0].tolist() == [128, 128, 128]


def test_grain_keeps_its_deviation_and_is_correlated_and_denoising_takes_it_away() -> None:
    noisy = replace(PERFECT, noise=0.03)
    sensors = noisy, replace(noisy, grain_px=1.0), replace(noisy, denoise=0.15)
    fine, coarse, clean = (s.shoot(GRAY, np.random.default_rng(0))[..., 0] / 255.0 for s in sensors)

    def neighbours(shot: np.ndarray) -> float:
        return float(np.corrcoef(shot[:, :-1].ravel(), shot[:, 1:].ravel())[0, 1])

    assert coarse.std() == pytest.approx(0.03, rel=0.15) and neighbours(coarse) > 0.6 > 0.1 > abs(neighbours(fine))
    assert clean.std() < 0.6 * fine.std()


def test_full_chroma_keeps_fine_colours() -> None:
    stripes = np.zeros((32, 32, 3), np.float32)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 0.8, 0.8
    loss = [
        np.abs(replace(PERFECT, jpeg=95, full_chroma=full).shoot(stripes, np.random.default_rng(0)) - 255 * stripes).mean()
        for full in (True, False)
    ]
    assert loss[0] < 0.5 * loss[1]
