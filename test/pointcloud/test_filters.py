"""What is left of a cloud: the compiled filters against plain torch, and that against what it is to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.pointcloud.filters import EVERYTHING, CloudFilter, flying, kept_depth, limits_of
from depth_retrofit_ros.pointcloud.filters_cpu import DepthFilter
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.pointcloud.voxels import cloud_points, packed_points, taken, voxel_points
from depth_retrofit_ros.runtime.filtered_cloud import DeviceCloud, HostCloud, failing
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.pointcloud.test_organized import scene

BOX = (-1.0, -2.0, 0.5, 2.0, 1.5, 9.0)
POSE = (0.1, -0.2, 0.3, 0.5, -0.5, 0.5, -0.5)
FILTERS = [
    CloudFilter(range_min=2.0),
    CloudFilter(range_max=8.0),
    CloudFilter(flying_pixels=2.0),
    CloudFilter(box=BOX),
    CloudFilter(box=BOX, pose=POSE),
    CloudFilter(range_min=1.0, range_max=15.0, flying_pixels=5.0, box=BOX, pose=POSE),
]
DENSE = [
    CloudFilter(voxel_size=0.7),
    CloudFilter(voxel_size=0.7, voxel_point="first"),
    CloudFilter(max_points=100),
    CloudFilter(max_points=10**6),
    CloudFilter(voxel_size=0.4, max_points=37, flying_pixels=2.0, range_max=10.0),
]


def blurred(height: int = 61, width: int = 83) -> tuple[np.ndarray, np.ndarray, Camera]:
    """Two surfaces with a soft edge between them, and holes."""
    _, image, camera = scene(height, width)
    camera = replace(camera, fx=10.0 * width, fy=10.0 * width)
    x = np.arange(width) - 0.4 * width
    log = np.log(2.0) + np.log(2.5) / (1 + np.exp(-x / 1.5)) + 0.0005 * np.arange(height)[:, None]
    depth = np.exp(log).astype(np.float32)
    depth[np.random.default_rng(0).random(depth.shape) < 0.02] = np.nan
    return depth, image, camera


def specified(depth: np.ndarray, camera: Camera, stride: int, cloud: CloudFilter) -> torch.Tensor:
    x, y = (torch.from_numpy(part[::stride]) for part in camera.ray_slopes())
    return kept_depth(torch.from_numpy(depth)[::stride, ::stride], (x, y), limits_of(cloud, camera, stride))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("cloud", FILTERS)
@pytest.mark.parametrize("make", [blurred, lambda: scene(31, 45), lambda: scene(1, 9), lambda: scene(2, 2)])
def test_the_compiled_filter_is_the_specified_one(cloud: CloudFilter, stride: int, make: object) -> None:
    depth, _, camera = make()  # type: ignore[operator]
    wanted = specified(depth, camera, stride, cloud).numpy()
    found = DepthFilter()(depth, camera.ray_slopes(), stride, limits_of(cloud, camera, stride))
    np.testing.assert_array_equal(found, wanted)


def test_of_a_soft_edge_the_surfaces_are_left() -> None:
    depth, _, camera = blurred()
    kept = specified(depth, camera, 1, CloudFilter(flying_pixels=2.0)).numpy()
    share = np.log(depth / depth[:, :1]) / np.log(2.5)
    assert np.isnan(kept[(share > 0.1) & (share < 0.9)]).all()
    flat = (share < 0.01) | (share > 0.99)
    assert (np.isfinite(kept) == np.isfinite(depth))[flat].all() and flat.mean() > 0.7


def test_sharp_edges_and_what_is_one_pixel_wide_stay() -> None:
    depth = torch.full((20, 30), 4.0)
    depth[:, 15:] = 8.0
    depth[:, 5] = depth[:, 22] = depth[3] = 1.0
    assert not flying(depth, (1.01, 1.01), (4, 4)).any()
    depth[10, 14] = 6.0
    assert flying(depth, (1.01, 1.01), (4, 4)).nonzero().tolist() == [[10, 14]]


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_surface_seen_from_the_side_goes_by_its_angle_alone(scale: float) -> None:
    camera = Camera(64, 200, 500.0, 500.0, 31.5, -0.5)  # a ground below the horizon
    y = torch.from_numpy(camera.ray_slopes()[1])
    depth = (scale / y)[:, None].expand(-1, 64).contiguous()
    angles = torch.atan(y).rad2deg()
    limits = limits_of(CloudFilter(flying_pixels=4.0), camera, 1)
    assert limits.steep is not None
    gone = flying(depth, limits.steep, (0, 0))[1:-1, 30]
    assert gone[angles[1:-1] < 3.5].all() and not gone[angles[1:-1] > 4.5].any() and gone.any()


def test_range_is_the_distance_from_the_camera_and_the_box_is_in_its_own_frame() -> None:
    depth, image, camera = scene(48, 64)
    points = make_cloud(depth, image, camera)[..., :3].astype(np.float64)
    kept = specified(depth, camera, 1, CloudFilter(range_min=2.0, range_max=8.0)).numpy()
    distance = np.linalg.norm(points, axis=-1)
    np.testing.assert_array_equal(np.isfinite(kept), (distance >= 2.0) & (distance <= 8.0))
    upright = (0.0, 0.0, 1.2, 0.5, -0.5, 0.5, -0.5)  # optical frame → x forward, y left, z up, 1.2 m above the ground
    kept = specified(depth, camera, 1, CloudFilter(box=(0.5, -2.0, 0.1, 9.0, 2.0, 2.0), pose=upright)).numpy()
    forward, left, up = points[..., 2], -points[..., 0], 1.2 - points[..., 1]
    inside = (forward > 0.5) & (forward < 9) & (abs(left) < 2) & (up > 0.1) & (up < 2)
    assert 100 < inside.sum() < inside.size / 2
    np.testing.assert_array_equal(np.isfinite(kept), inside)


def made_by(made: HostCloud, depth: np.ndarray, image: np.ndarray, camera: Camera, stride: int, cloud: CloudFilter) -> np.ndarray:
    fill = made.begin(lambda: depth, image, camera, stride, cloud)
    out = np.full((*fill.shape(), 4), 7.0, np.float32)
    fill(out)
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("cloud", DENSE)
def test_a_dense_cloud_is_the_specified_one_and_buffers_are_clean(cloud: CloudFilter, stride: int) -> None:
    made = HostCloud()
    for height, width in ((48, 64), (31, 45), (48, 64)):
        depth, image, camera = scene(height, width)
        found = made_by(made, depth, image, camera, stride, cloud)
        rays = tuple(torch.from_numpy(part[::stride]) for part in camera.ray_slopes())
        kept, colors = specified(depth, camera, stride, cloud), torch.from_numpy(image)[::stride, ::stride]
        points = cloud_points(kept, colors, (rays[0], rays[1]))
        if cloud.voxel_size:
            points = voxel_points(*points, cloud.voxel_size, cloud.voxel_point == "centroid")
        wanted = packed_points(*points, False).numpy()[taken(len(points[0]), cloud.max_points)]
        assert found.shape == (1, len(wanted), 4) and np.isfinite(found[..., :3]).all()
        np.testing.assert_allclose(found[0, :, :3], wanted[:, :3], rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(found[0, :, 3].view(np.uint32), wanted[:, 3].view(np.uint32))


def test_a_table_that_is_too_small_grows() -> None:
    depth, image, camera = scene(200, 300)
    found = made_by(HostCloud(), depth, image, camera, 1, CloudFilter(voxel_size=0.002))[0]
    assert len(found) > 40_000
    cells = np.unique(np.floor(found[:, :3] * (np.float32(1) / np.float32(0.002))), axis=0)
    assert len(cells) == len(found)


def test_an_organized_cloud_keeps_its_places_and_intensity_is_the_luminance() -> None:
    depth, image, camera = scene(48, 64)
    plain = make_cloud(depth, image, camera, 2)
    cut = made_by(HostCloud(), depth, image, camera, 2, CloudFilter(range_max=8.0))
    kept = np.isfinite(cut[..., 2])
    np.testing.assert_array_equal(cut[kept].view(np.uint32), plain[kept].view(np.uint32))
    assert 0 < kept.sum() < np.isfinite(plain[..., 2]).sum() and np.isnan(cut[~kept][:, :3]).all()
    for cloud in (CloudFilter(intensity=True), CloudFilter(intensity=True, max_points=10**6)):
        gray = made_by(HostCloud(), depth, image, camera, 1, cloud)
        luminance = image @ np.array([0.299, 0.587, 0.114])
        wanted = luminance if cloud.organized else luminance[np.isfinite(make_cloud(depth, image, camera)[..., 2])][None]
        np.testing.assert_allclose(gray[..., 3], wanted, atol=1e-3)


def test_points_are_thinned_evenly_and_always_the_same_way() -> None:
    for count, most in ((1000, 10), (1000, 999), (7, 3), (5, 5), (0, 3)):
        left = taken(count, most)
        assert len(left) == min(count, most) and (np.diff(left) > 0).all() and (left < count).all()
        if 0 < most < count:
            ends = np.arange(most + 1) * count // most
            assert ((left >= ends[:-1]) & (left < ends[1:])).all()
    assert len(np.unique(taken(100 * 64, 100) % 64)) > 20  # of a row of 64, not always the same columns


def test_without_a_filter_the_cloud_is_the_plain_one() -> None:
    assert EVERYTHING.plain and CloudFilter(keep_sky=True).plain
    assert not any(cloud.plain for cloud in (*FILTERS, *DENSE, CloudFilter(intensity=True)))


@pytest.mark.parametrize("cloud", [*FILTERS, *DENSE, CloudFilter(intensity=True)])
def test_a_device_makes_the_cloud_that_the_host_makes(cloud: CloudFilter) -> None:
    depth, image, camera = scene(48, 64)
    nowhere = torch.empty(0)
    chosen = PixelSet.from_indices(torch.empty(0, dtype=torch.int64), depth.shape)
    answer = DepthFrame(torch.from_numpy(depth), nowhere, nowhere, "model", chosen, nowhere)
    slopes = tuple(torch.from_numpy(part) for part in camera.ray_slopes())
    result = replace(answer, image=torch.from_numpy(image))
    fill = DeviceCloud(torch.device("cpu")).begin(result, (slopes[0], slopes[1]), camera, 2, cloud)
    found = np.empty((*fill.shape(), 4), np.float32)
    fill(found)
    wanted = made_by(HostCloud(), depth, image, camera, 2, cloud)
    np.testing.assert_allclose(found[..., :3], wanted[..., :3], rtol=1e-6, atol=1e-6)
    if cloud.intensity:
        np.testing.assert_allclose(found[..., 3], wanted[..., 3], atol=1e-3)
    else:
        np.testing.assert_array_equal(found[..., 3].view(np.uint32), wanted[..., 3].view(np.uint32))


def test_a_cloud_that_cannot_be_begun_says_why_when_it_is_asked_for() -> None:
    with pytest.raises(ValueError, match="no memory"):
        failing(ValueError("no memory")).shape()
