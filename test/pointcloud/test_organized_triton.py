"""The cloud made on a device against the compiled one: by Triton's interpreter in a process of its own, and on CUDA."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes
from test.waiting import run_python, same_imports

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton")

AGREED = "all agree"
CASES = ((3, 5, 1), (37, 61, 1), (37, 61, 2), (64, 96, 5), (2, 700, 1))


def check(device: str) -> None:
    from depth_retrofit_ros.pointcloud.organized_triton import make_cloud_on_device

    for height, width, stride in CASES:
        rng = np.random.default_rng(height * width + stride)
        depth = rng.uniform(0.3, 50.0, (height, width)).astype(np.float32)
        depth.flat[::7] = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -1.0], np.float32), depth.flat[::7].shape)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        camera = Camera(width, height, 50.0, 60.0, 0.4 * width, 0.6 * height)
        rays = RaySlopes(torch.device(device))(camera)
        got = make_cloud_on_device(torch.from_numpy(depth).to(device), torch.from_numpy(image).to(device), rays, stride)
        wanted = make_cloud(depth, image, camera, stride)
        assert np.array_equal(got.cpu().numpy().view(np.uint32)[..., 3], wanted.view(np.uint32)[..., 3])
        np.testing.assert_allclose(got.cpu().numpy()[..., :3], wanted[..., :3], rtol=1e-6)


def test_interpreted_kernel_gives_the_cloud_of_the_compiled_pass() -> None:
    process = run_python("-m", __name__, env={**os.environ, **same_imports(), "TRITON_INTERPRET": "1"})
    assert process.returncode == 0 and process.stdout.strip() == AGREED, process.stderr[-2000:]


@pytest.mark.cuda
def test_on_cuda() -> None:
    check("cuda")


if __name__ == "__main__":
    check("cpu")
    print(AGREED)
