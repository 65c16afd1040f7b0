"""What is left of a cloud: the compiled filters against plain torch, and that against what it is to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.lens import Lens, Optics, RayTable
from depth_retrofit_ros.pointcloud.filters import EVERYTHING, CloudFilter, flying, kept_depth, limits_of
from depth_retrofit_ros.pointcloud.filters_cpu import DepthFilter
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.pointcloud.ray_grid import RayGrid, Rays, rays_of
from depth_retrofit_ros.pointcloud.ray_table import cloud_along
from depth_retrofit_ros.pointcloud.voxels import cloud_points, packed_points, taken, voxel_points
from depth_retrofit_ros.pointcloud.voxels_cpu import FIRST_SLOTS, DenseCloud
from depth_retrofit_ros.runtime.filtered_cloud import DeviceCloud, HostCloud, failing
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


def fisheye(camera: Camera) -> RayTable:
    """Of half the focal length: with a wide image it has corners without rays."""
    raw = replace(camera, fx=0.3 * camera.width, fy=0.3 * camera.width)
    return RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), raw))


def in_torch(camera: Camera, optics: Optics | None, stride: int) -> Rays[torch.Tensor]:
    rays = rays_of(camera, optics, stride)
    stretch = None if rays.stretch is None else torch.from_numpy(rays.stretch)
    return Rays(torch.from_numpy(rays.x), torch.from_numpy(rays.y), stretch)


def specified(depth: np.ndarray, camera: Camera, stride: int, cloud: CloudFilter, optics: Optics | None = None) -> torch.Tensor:
    grid = torch.from_numpy(depth)[::stride, ::stride]
    return kept_depth(grid, in_torch(camera, optics, stride), limits_of(cloud, camera, stride))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("cloud", FILTERS)
@pytest.mark.parametrize("make", [blurred, lambda: scene(31, 45), lambda: scene(1, 9), lambda: scene(2, 2)])
def test_the_compiled_filter_is_the_specified_one(cloud: CloudFilter, stride: int, make: object) -> None:
    depth, _, camera = make()  # type: ignore[operator]
    made = DepthFilter()
    for optics in (None, fisheye(camera), None):
        wanted = specified(depth, camera, stride, cloud, optics).numpy()
        found = made(depth, rays_of(camera, optics, stride), stride, limits_of(cloud, camera, stride))
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


def made_by(
    made: HostCloud,
    depth: np.ndarray,
    image: np.ndarray,
    camera: Camera,
    stride: int,
    cloud: CloudFilter,
    optics: Optics | None = None,
) -> np.ndarray:
    fill = made.begin(lambda: depth, Frame(image, camera=camera, optics=optics), stride, cloud)
    out = np.full((*fill.shape(), 4), 7.0, np.float32)
    fill(out)
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("cloud", DENSE)
def test_a_dense_cloud_is_the_specified_one_and_buffers_are_clean(cloud: CloudFilter, stride: int) -> None:
    made = HostCloud()
    for height, width, is_bent in ((48, 64, False), (31, 45, True), (48, 64, True), (48, 64, False)):
        depth, image, camera = scene(height, width)
        optics = fisheye(camera) if is_bent else None
        found = made_by(made, depth, image, camera, stride, cloud, optics)
        kept, colors = specified(depth, camera, stride, cloud, optics), torch.from_numpy(image)[::stride, ::stride]
        points = cloud_points(kept, colors, in_torch(camera, optics, stride))
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


def test_points_lie_along_the_rays_of_the_lens_and_pixels_without_one_have_none() -> None:
    depth, image, camera = scene(48, 64)
    optics = replace(camera, fx=20.0, fy=20.0)
    lens = RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), optics))
    assert lens.unseen is not None and 0 < lens.unseen.sum() < lens.unseen.size / 2
    plain = cloud_along(torch.from_numpy(depth), torch.from_numpy(image), torch.from_numpy(lens.slopes)).numpy()
    wide = CloudFilter(range_max=1e6)
    all_of_it = made_by(HostCloud(), depth, image, camera, 1, wide, lens)
    np.testing.assert_array_equal(all_of_it[..., :3], plain[..., :3])
    assert np.isnan(all_of_it[lens.unseen][:, :3]).all()
    near = made_by(HostCloud(), depth, image, camera, 1, CloudFilter(range_max=8.0), lens)
    distance = np.linalg.norm(plain[..., :3].astype(np.float64), axis=-1)
    np.testing.assert_array_equal(np.isfinite(near[..., 2]), distance <= 8.0)
    row = made_by(HostCloud(), depth, image, camera, 1, CloudFilter(range_max=8.0, max_points=10**6), lens)[0]
    np.testing.assert_array_equal(row.view(np.uint32), near[np.isfinite(near[..., 2])].view(np.uint32))


def test_a_fisheye_s_ground_goes_by_its_angle_too() -> None:
    camera = Camera(65, 330, 240.0, 240.0, 32.0, -0.5)  # half a degree a pixel or less, up to 79 degrees below the axis
    rays = in_torch(camera, RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), camera)), 1)
    assert rays.stretch is not None
    depth, angles = 1.5 / rays.y, torch.atan(rays.y[:, 32]).rad2deg()
    kept = kept_depth(depth, rays, limits_of(CloudFilter(flying_pixels=4.0), camera, 1))
    gone = kept.isnan()[1:-1, 32]
    assert gone[angles[1:-1] < 3.5].all() and not gone[angles[1:-1] > 4.5].any() and angles.max() > 75
    sphere = kept_depth(3.0 / rays.stretch, rays, limits_of(CloudFilter(flying_pixels=4.0), camera, 1))
    assert sphere.isfinite().all()  # its depth falls steeply, seen at such an angle, its distance does not


def test_rays_are_made_once_for_a_camera_and_a_stride() -> None:
    sent: list[np.ndarray] = []
    grid: RayGrid[np.ndarray] = RayGrid(lambda array: sent.append(array) or array)  # type: ignore[func-returns-value]
    _, image, camera = scene(12, 16)
    bent = fisheye(camera)
    for optics, stride, made in ((None, 1, 2), (None, 1, 2), (None, 2, 4), (bent, 2, 7), (bent, 2, 7), (fisheye(camera), 2, 10)):
        rays = grid(Frame(image, camera=replace(camera), optics=optics), stride)
        assert len(sent) == made and rays.x.shape[1] == -(-16 // stride)


def test_depth_of_another_size_is_refused_before_it_is_read() -> None:
    depth, image, camera = scene(48, 64)
    for wrong in (CloudFilter(range_max=8.0), CloudFilter(voxel_size=0.1)):
        with pytest.raises(ValueError, match="must agree in size"):
            made_by(HostCloud(), depth[:-1], image, camera, 1, wrong)


def test_a_range_that_is_empty_is_refused() -> None:
    with pytest.raises(OutputError, match="range_min 2 must be below range_max 2"):
        CloudFilter(range_min=2.0, range_max=2.0)
    assert CloudFilter(range_min=2.0).range_max == 0


def test_tables_are_given_back_and_are_clean_where_memory_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    depth, image, camera = scene(200, 300)
    fine, coarse = CloudFilter(voxel_size=0.002), CloudFilter(voxel_size=1.0)
    made, rays = DenseCloud(), rays_of(camera, None, 1)

    def run(cloud: CloudFilter) -> np.ndarray:
        kept = DepthFilter()(depth, rays, 1, limits_of(cloud, camera, 1))
        return made(kept, image, rays, 1, cloud).copy()

    wanted = run(coarse)
    assert made.slots == FIRST_SLOTS

    def no_memory(slots: int) -> object:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("depth_retrofit_ros.pointcloud.voxels_cpu.Table", no_memory)
        with pytest.raises(MemoryError):
            run(fine)  # the first tables are full of it, others are not to be had
    np.testing.assert_array_equal(run(coarse).view(np.uint32), wanted.view(np.uint32))
    run(fine)
    assert made.slots > FIRST_SLOTS
    for _ in range(4):
        np.testing.assert_array_equal(run(coarse).view(np.uint32), wanted.view(np.uint32))
    assert made.slots == FIRST_SLOTS


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


@pytest.mark.parametrize("is_bent", [False, True])
@pytest.mark.parametrize("cloud", [*FILTERS, *DENSE, CloudFilter(intensity=True), CloudFilter(range_max=0.01, max_points=5)])
def test_a_device_makes_the_cloud_that_the_host_makes(cloud: CloudFilter, is_bent: bool) -> None:
    depth, image, camera = scene(48, 64)
    optics = fisheye(camera) if is_bent else None
    frame, on_device = Frame(image, camera=camera, optics=optics), (torch.from_numpy(depth), torch.from_numpy(image))
    fill = DeviceCloud(torch.device("cpu")).begin(*on_device, frame, 2, cloud)
    found = np.empty((*fill.shape(), 4), np.float32)
    fill(found)
    wanted = made_by(HostCloud(), depth, image, camera, 2, cloud, optics)
    np.testing.assert_allclose(found[..., :3], wanted[..., :3], rtol=1e-6, atol=1e-6)
    if cloud.intensity:
        np.testing.assert_allclose(found[..., 3], wanted[..., 3], atol=1e-3)
    else:
        np.testing.assert_array_equal(found[..., 3].view(np.uint32), wanted[..., 3].view(np.uint32))


def test_a_cloud_that_cannot_be_begun_says_why_when_it_is_asked_for() -> None:
    with pytest.raises(ValueError, match="no memory"):
        failing(ValueError("no memory")).shape()
