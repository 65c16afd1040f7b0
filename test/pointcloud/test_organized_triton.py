"""The cloud made on a device against the compiled one: by Triton's interpreter in a process of its own, and on CUDA."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.pointcloud.organized import make_cloud

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton")

CASES = ((3, 5, 1), (37, 61, 1), (37, 61, 2), (64, 96, 5), (2, 700, 1))


def check(device: str) -> None:
    from depth_retrofit_ros.pointcloud.organized_triton import make_cloud_on_device

    for height, width, stride in CASES:
        rng = np.random.default_rng(height * width + stride)
        depth = rng.uniform(0.3, 50.0, (height, width)).astype(np.float32)
        depth.flat[::7] = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -1.0], np.float32), depth.flat[::7].shape)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        camera = Camera(width, height, 50.0, 60.0, 0.4 * width, 0.6 * height)
        got = make_cloud_on_device(torch.from_numpy(depth).to(device), torch.from_numpy(image).to(device), camera, stride)
        wanted = make_cloud(depth, image, camera, stride)
        assert np.array_equal(got.cpu().numpy().view(np.uint32)[..., 3], wanted.view(np.uint32)[..., 3])
        np.testing.assert_allclose(got.cpu().numpy()[..., :3], wanted[..., :3], rtol=1e-6)


def test_interpreted_kernel_gives_the_cloud_of_the_compiled_pass() -> None:
    paths = [os.path.dirname(__file__), *(path for path in sys.path if path)]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", "import test_organized_triton as t; t.check('cpu'); print('all agree')"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert process.stdout.split("\n")[0] == "all agree", process.stderr[-2000:]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda() -> None:
    check("cuda")
