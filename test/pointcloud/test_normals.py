"""Normals of planes and steps, which are known; and the compiled passes against the plain ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.metrics.normals import angles_deg
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.pointcloud import normals as module
from depth_retrofit_ros.pointcloud.normals import (
    fit_by_torch,
    fit_planes,
    normals_by_torch,
    normals_of,
    overlay,
    predicted_planes,
    surface_normals,
)
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import upsample

CAMERA = Camera(160, 120, 150.0, 140.0, 70.0, 66.0)


def _rays(camera: Camera) -> Tensor:
    x, y = (torch.from_numpy(slopes) for slopes in camera.ray_slopes())
    return torch.stack((x.expand(camera.height, -1), y[:, None].expand(-1, camera.width), torch.ones(camera.height, camera.width)))


def _unit(*vector: float) -> Tensor:
    return torch.nn.functional.normalize(torch.tensor(vector, dtype=torch.float32), dim=0)


def _plane(normal: Tensor, distance: float, camera: Camera = CAMERA) -> Tensor:
    """Depth of the plane with that normal, which faces the camera, at that distance from it."""
    return -distance / (normal[:, None, None] * _rays(camera)).sum(0)


def _apart(normals: Tensor, normal: Tensor) -> Tensor:
    """Angles [deg], ``[H, W]``."""
    return torch.from_numpy(angles_deg(normals.numpy(), normal.view(3, 1, 1).expand_as(normals).numpy()))


FLOOR, WALL = _unit(0.05, -0.97, -0.25), _unit(-0.6, 0.1, -0.8)


@pytest.mark.parametrize("normal", [_unit(0, 0, -1), FLOOR, WALL])
@pytest.mark.parametrize("size", [(160, 120), (640, 480), (1700, 60)])
def test_a_plane_has_its_normal_everywhere(normal: Tensor, size: tuple[int, int]) -> None:
    camera = CAMERA.resized(*size)
    depth = _plane(normal, 1.5, camera)
    depth = torch.where((depth > 0) & (depth < 30), depth, torch.nan)  # the floor's horizon
    normals = normals_of(depth, camera)
    known = depth.isfinite()
    assert torch.equal(normals.isfinite().all(0), known)
    assert float(_apart(normals, normal)[known].max()) < 0.5
    torch.testing.assert_close(normals.norm(dim=0)[known], torch.ones(int(known.sum())))


@pytest.mark.parametrize("coarse", [(140, 252), (36, 64), (720, 1280)])
def test_the_border_where_upsampling_holds_depth_has_the_normals_further_inside(coarse: tuple[int, int]) -> None:
    """A ground that fills a frame of 1280x720: within half a coarse pixel of the border its depth does not change."""
    camera, normal = Camera.from_hfov(1280, 720, 70.0), _unit(0.1, -0.64, -0.77)
    coarse_depth = _plane(normal, 1.5, camera.resized(coarse[1], coarse[0]))
    depth = upsample(coarse_depth, (720, 1280))
    pixels = PixelSet.from_indices(torch.arange(10), (720, 1280))
    normals = surface_normals(DepthFrame(depth, depth, coarse_depth, None, pixels, torch.zeros(10), camera=camera))
    assert float(_apart(normals, normal).max()) < 1.0


def test_scale_does_not_matter_and_the_unknown_stays_unknown() -> None:
    depth = _plane(WALL, 2.0)
    for row, value in enumerate((torch.nan, torch.inf, -1.0, 0.0)):
        depth[30 + 9 * row, 40:44] = value
    unknown = ~(depth.isfinite() & (depth > 0))
    normals = normals_of(depth, CAMERA)
    assert torch.equal(normals.isnan().any(0), unknown)
    assert float(_apart(normals, WALL)[~unknown].max()) < 0.5
    torch.testing.assert_close(normals_of(1000 * depth, CAMERA), normals, equal_nan=True, rtol=0, atol=1e-4)


def test_the_two_sides_of_a_depth_edge_do_not_mix() -> None:
    """A wall before a floor: up to the pixels of the edge, each has the normal of its own side."""
    near, far = _plane(WALL, 1.0), _plane(_unit(0.3, -0.5, -0.8), 4.0)
    side = _rays(CAMERA)[0] + 0.3 * _rays(CAMERA)[1] < 0.1
    normals = normals_of(torch.where(side, near, far), CAMERA)
    assert float(_apart(normals, WALL)[side].max()) < 1.0
    assert float(_apart(normals, _unit(0.3, -0.5, -0.8))[~side].max()) < 1.0


def test_something_thinner_than_the_cells_does_not_get_the_normals_behind_it() -> None:
    camera = CAMERA.resized(2560, 400)
    depth = torch.full((400, 2560), 5.0)
    slanted = _plane(_unit(0.7, 0, -0.7), 0.8, camera)
    pole = slice(1001, 1004)  # between the centers of the cells, 8 px apart
    depth[:, pole] = slanted[:, pole]
    normals = normals_of(depth, camera)
    assert float(_apart(normals, _unit(0.7, 0, -0.7))[:, pole].max()) < 1.0
    assert float(_apart(normals, _unit(0, 0, -1))[:, :1001].max()) < 0.1


def test_noise_is_averaged_out() -> None:
    """A thousandth of depth from pixel to pixel: differences of neighbours are off by tens of degrees."""
    camera = CAMERA.resized(960, 720)
    depth = _plane(WALL, 2.0, camera)
    depth *= 1 + 1e-3 * torch.randn(depth.shape, generator=torch.Generator().manual_seed(2))
    assert float(_apart(normals_of(depth, camera), WALL).mean()) < 6.0


def _scene(height: int, width: int) -> Tensor:
    """Steps, slants, waves, noise and holes."""
    generator = torch.Generator().manual_seed(height)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    depth = 2 + x + 0.4 * torch.sin(9 * y) + 3.0 * (x + 0.3 * y > 0.6) + 2.0 * (torch.sin(40 * x) > 0.9)
    depth = depth * (1 + 2e-3 * torch.randn(depth.shape, generator=generator))
    for value in (torch.nan, torch.inf, -1.0, 0.0):
        depth[torch.rand(depth.shape, generator=generator) < 0.01] = value
    return depth


@pytest.mark.parametrize("size", [(90, 160), (333, 500), (200, 1290), (40, 9), (1, 1), (1, 30), (30, 1), (2, 2)])
def test_the_compiled_passes_equal_the_plain_ones(size: tuple[int, int]) -> None:
    depth, camera = _scene(*size), CAMERA.resized(size[1], size[0])
    stride = module.cell_stride(*size)
    planes = fit_planes(depth, stride)
    for ours, plain in zip(planes, fit_by_torch(planes.value, stride), strict=True):
        torch.testing.assert_close(ours, plain, equal_nan=True, rtol=1e-4, atol=1e-6)
    _same(normals_of(depth, camera), normals_by_torch(depth, planes, camera, stride, module.NEAR_PLANE))


@pytest.mark.parametrize("size", [(90, 160), (333, 500), (40, 9), (1, 1)])
def test_the_compiled_pass_equals_the_plain_one_with_predicted_normals_too(size: tuple[int, int]) -> None:
    depth, camera = _scene(*size), CAMERA.resized(size[1], size[0])
    predicted = torch.randn(3, max(1, size[0] // 5), max(1, size[1] // 5), generator=torch.Generator().manual_seed(7))
    predicted[2] = -predicted[2].abs() - 0.5
    predicted = torch.nn.functional.normalize(predicted, dim=0)
    stride = max(1, round(size[1] / predicted.shape[2]))
    planes = predicted_planes(depth, predicted, camera, stride)
    _same(normals_of(depth, camera, predicted), normals_by_torch(depth, planes, camera, stride, float("inf")))


def _same(compiled: Tensor, plain: Tensor) -> None:
    assert torch.equal(compiled.isnan(), plain.isnan())
    angles = torch.from_numpy(angles_deg(compiled.numpy(), plain.numpy()))[plain[0].isfinite()]
    # A pixel exactly at a tolerance may be judged otherwise by the last bit.
    assert float((angles > 0.1).float().mean()) < 1e-3


def test_the_models_normals_are_taken_on_their_own_side_of_a_depth_edge() -> None:
    left, right = _unit(0.2, 0.1, -0.9), _unit(-0.4, -0.4, -0.8)
    side = _rays(CAMERA)[0] < 0.0
    depth = torch.where(side, _plane(WALL, 1.0), _plane(WALL, 3.0))
    cells = side[::2, ::2]
    predicted = torch.where(cells, left[:, None, None], right[:, None, None])
    normals = normals_of(depth, CAMERA, predicted)
    assert float(_apart(normals, left)[side].max()) < 1.0
    assert float(_apart(normals, right)[~side].max()) < 1.0


def test_where_depth_is_on_no_plane_of_the_model_the_normals_are_the_models_all_the_same() -> None:
    said = _unit(0.2, 0.1, -0.9)
    noise = 1 + 0.2 * torch.rand(120, 160, generator=torch.Generator().manual_seed(4))
    normals = normals_of(2 * noise, CAMERA, said.view(3, 1, 1).expand(3, 30, 40).contiguous())
    assert float(_apart(normals, said).max()) < 2.0


def test_a_normal_edge_on_is_no_infinite_slope() -> None:
    predicted = _unit(1.0, 0.0, 0.2).view(3, 1, 1).expand(3, 30, 40).contiguous()  # seen from behind
    normals = normals_of(_plane(WALL, 2.0), CAMERA, predicted)
    assert bool(normals.isfinite().all())
    assert float((normals * _rays(CAMERA)).sum(0).max()) < 0.0


def test_of_a_frame() -> None:
    depth = _plane(WALL, 2.0)
    pixels = PixelSet.from_indices(torch.arange(10), (120, 160))
    frame = DepthFrame(depth, depth, depth, None, pixels, torch.zeros(10), camera=CAMERA)
    torch.testing.assert_close(surface_normals(frame), normals_of(depth, CAMERA))
    with pytest.raises(ValueError, match="give it a camera"):
        surface_normals(DepthFrame(depth, depth, depth, None, pixels, torch.zeros(10)))


def test_the_refiner_s_normals_are_in_place_where_it_gave_some() -> None:
    depth = _plane(WALL, 2.0)
    depth[40:44, 50:60] = torch.nan
    pixels = PixelSet.from_indices(torch.arange(40 * 160, 50 * 160), (120, 160))
    refined = FLOOR[:, None].repeat(1, pixels.count)
    refined[:, ::2] = 0.0  # no tile lay there
    plain = DepthFrame(depth, depth, depth, None, pixels, torch.zeros(pixels.count), camera=CAMERA)
    before, after = surface_normals(plain).flatten(1), surface_normals(replace(plain, refined_normals=refined)).flatten(1)
    known = ~before[0].isnan()
    given = torch.zeros(120 * 160, dtype=torch.bool)
    given[pixels.indices[1::2]] = True
    assert torch.equal(after[:, given & known], FLOOR[:, None].expand(-1, int((given & known).sum())))
    assert torch.equal(after[:, ~given & known], before[:, ~given & known])
    assert bool(after[:, ~known].isnan().all()) and 0 < int((~known).sum()) == int(depth.isnan().sum())


def test_they_go_into_any_layout_in_memory() -> None:
    generator = torch.Generator().manual_seed(0)
    planes, refined = torch.randn(3, 20, 30, generator=generator), torch.randn(3, 50, generator=generator)
    pixels = torch.randperm(600, generator=generator)[:50]
    by_pixel = planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for normals in (planes, by_pixel):
        overlay(normals, refined, pixels)
    assert torch.equal(planes, by_pixel) and torch.equal(planes.flatten(1)[:, pixels], refined)


@pytest.mark.cuda
def test_on_cuda_they_are_the_same() -> None:
    depth, camera = _scene(333, 500), CAMERA.resized(500, 333)
    host, device = normals_of(depth, camera), normals_of(depth.cuda(), camera).cpu()
    angles = angles_deg(host.numpy(), device.numpy())
    assert np.nanmean(angles > 0.1) < 1e-3
