"""The baseline upsamplers against their definitions in plain loops, and that they are baselines at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_retrofit_ros.evaluation.baselines.guided_filter import guided_filter, guided_upsample
from depth_retrofit_ros.evaluation.baselines.joint_bilateral import joint_bilateral_upsample
from depth_retrofit_ros.evaluation.baselines.upsampling import UPSAMPLERS


def test_guided_filter_equals_ridge_regression_in_every_window() -> None:
    rng = np.random.default_rng(0)
    height, width, radius, epsilon = 9, 11, 2, 1e-2
    guide, values = rng.random((height, width, 3), np.float32), rng.uniform(1, 3, (height, width)).astype(np.float32)
    fits = {}
    for y in range(height):
        for x in range(width):
            window = (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
            colors, targets = guide[window].reshape(-1, 3).astype(float), values[window].ravel().astype(float)
            centered, mean = colors - colors.mean(0), targets.mean()
            slope = np.linalg.solve(
                centered.T @ centered / len(targets) + epsilon * np.eye(3), centered.T @ (targets - mean) / len(targets)
            )
            fits[y, x] = (slope, mean - slope @ colors.mean(0))
    want = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            near = [f for (a, b), f in fits.items() if abs(a - y) <= radius and abs(b - x) <= radius]
            want[y, x] = np.mean([slope @ guide[y, x] + offset for slope, offset in near])
    assert guided_filter(guide, values, radius, epsilon) == pytest.approx(want, abs=2e-4)


def test_guided_upsampling_to_the_same_size_is_the_guided_filter() -> None:
    rng = np.random.default_rng(1)
    guide, values = rng.random((12, 16, 3), np.float32), rng.random((12, 16), np.float32)
    assert guided_upsample(guide, guide, values, 2, 1e-3) == pytest.approx(guided_filter(guide, values, 2, 1e-3), abs=1e-5)


def test_joint_bilateral_equals_its_sum_over_the_window() -> None:
    rng = np.random.default_rng(2)
    guide, small = rng.random((12, 18, 3), np.float32), rng.random((4, 6, 3), np.float32)
    coarse = rng.uniform(1, 5, (4, 6)).astype(np.float32)
    got = joint_bilateral_upsample(guide, small, coarse, 0.8, 0.3)
    for y, x in rng.integers((0, 0), (12, 18), (40, 2)):
        v, u = (y + 0.5) / 3 - 0.5, (x + 0.5) / 3 - 0.5
        total = weight = 0.0
        for j in range(4):
            for i in range(6):
                if abs(j - math.floor(v + 0.5)) <= 2 and abs(i - math.floor(u + 0.5)) <= 2:
                    color = float(((guide[y, x] - small[j, i]) ** 2).sum())
                    w = math.exp(-((v - j) ** 2 + (u - i) ** 2) / (2 * 0.8**2) - color / (2 * 0.3**2))
                    total, weight = total + w * coarse[j, i], weight + w
        assert got[y, x] == pytest.approx(total / weight, rel=1e-4)


def test_joint_bilateral_is_defined_where_nothing_looks_alike() -> None:
    guide, small = np.ones((8, 8, 3), np.float32), np.zeros((2, 2, 3), np.float32)
    out = joint_bilateral_upsample(guide, small, np.full((2, 2), 3.0, np.float32), 1.0, 0.01)
    assert out == pytest.approx(np.full((8, 8), 3.0))


def scene() -> tuple[np.ndarray, torch.Tensor, np.ndarray]:
    """A bright object before a dark ground, its true depth, and a coarse map of it at 1/8."""
    y, x = np.mgrid[0:96, 0:128]
    near = (y - 50) ** 2 + (x - 61) ** 2 < 30**2
    truth = np.where(near, 2.0, 5.0).astype(np.float32)
    image = np.where(near[..., None], np.array([220, 200, 150]), np.array([40, 60, 70])).astype(np.uint8)
    coarse = np.exp(np.log(truth).reshape(12, 8, 16, 8).mean((1, 3))).astype(np.float32)
    return image, torch.from_numpy(coarse), truth


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_every_upsampler_keeps_a_constant_and_the_scale(name: str) -> None:
    image, coarse, _ = scene()
    out = UPSAMPLERS[name](image, torch.full_like(coarse, 3.0))
    assert out.shape == (96, 128) and out.dtype == np.float32
    assert out == pytest.approx(np.full((96, 128), 3.0), rel=1e-4)
    assert UPSAMPLERS[name](image, 10 * coarse) == pytest.approx(10 * UPSAMPLERS[name](image, coarse), rel=1e-3)


def test_nearest_is_the_coarse_pixel_that_each_pixel_lies_in() -> None:
    image, coarse, _ = scene()
    assert np.array_equal(UPSAMPLERS["nearest"](image, coarse), np.kron(coarse.numpy(), np.ones((8, 8), np.float32)))


def test_the_guided_baselines_use_the_image() -> None:
    image, coarse, truth = scene()
    error = {name: float(np.abs(np.log(f(image, coarse) / truth)).mean()) for name, f in UPSAMPLERS.items()}
    assert error["guided"] < 0.6 * error["bilinear"] and error["jbu"] < 0.6 * error["bilinear"]
