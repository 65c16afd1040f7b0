"""The cloud along rays of one's own: compiled and torch twin agree, and a pinhole's rays give the organized cloud."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.lens import Lens, RayTable
from depth_retrofit_ros.pointcloud.organized import cloud_size, make_cloud
from depth_retrofit_ros.pointcloud.ray_table import _fill, cloud_along, compile_cloud_along, fill_cloud_along

CAMERA = Camera(31, 22, 20.0, 21.0, 14.0, 11.0)


@pytest.mark.parametrize("stride", [1, 3])
def test_twins_agree_and_a_pinhole_s_rays_give_its_cloud(stride: int) -> None:
    random = np.random.default_rng(0)
    depth = random.uniform(0.5, 5, (22, 31)).astype(np.float32)
    depth[3, 6], depth[6, 3], depth[9, 9], depth[0, 0] = np.nan, -1, np.inf, 0
    image = random.integers(0, 256, (22, 31, 3), dtype=np.uint8)
    x, y = CAMERA.ray_slopes()
    slopes = np.stack(np.broadcast_arrays(x[None], y[:, None]), -1)
    out = np.empty((*cloud_size(22, 31, stride), 4), np.float32)
    fill_cloud_along(depth, image, slopes, out, stride)
    np.testing.assert_array_equal(out.view(np.uint32)[..., 3], make_cloud(depth, image, CAMERA, stride).view(np.uint32)[..., 3])
    np.testing.assert_array_equal(out[..., :3], make_cloud(depth, image, CAMERA, stride)[..., :3])
    unseen = slopes.copy()
    unseen[12, 12] = np.nan
    fill_cloud_along(depth, image, unseen, out, stride)
    twin = cloud_along(torch.from_numpy(depth), torch.from_numpy(image), torch.from_numpy(unseen), stride).numpy()
    np.testing.assert_array_equal(out[..., :3], twin[..., :3])
    np.testing.assert_array_equal(out.view(np.uint32)[..., 3], twin.view(np.uint32)[..., 3])
    assert np.isnan(out[12 // stride, 12 // stride, :3]).all()


def test_what_is_compiled_ahead_is_what_a_frame_needs() -> None:
    compile_cloud_along()
    known = len(_fill.signatures)
    rays = RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), CAMERA))
    out = np.empty((22, 31, 4), np.float32)
    fill_cloud_along(np.ones((22, 31), np.float32), np.zeros((22, 31, 3), np.uint8), rays.slopes, out)
    assert len(_fill.signatures) == known > 0
