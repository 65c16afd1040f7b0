"""Shift and focal length of point maps, against an exact scene and a brute-force minimum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.coarse.networks.view_plane import recover_shift, turned_to_camera, view_plane

ASPECT = 1.6
CPU = torch.device("cpu")


def _points(focal: float, shift: float, noise: float = 0.0, rows: int = 96, columns: int = 154) -> Tensor:
    """Of a wavy scene, seen by a camera of that focal length, z lessened by ``shift``."""
    uv = view_plane(rows, columns, ASPECT, CPU)
    z = 2.5 + uv[0] - 0.7 * uv[1] + 0.3 * torch.sin(9 * uv[0])
    points = torch.stack((uv[0] * z / focal, uv[1] * z / focal, z - shift))
    return points + noise * torch.randn(points.shape, generator=torch.Generator().manual_seed(3))


def _everywhere(points: Tensor) -> Tensor:
    return torch.ones(points.shape[1:], dtype=torch.bool)


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.9])
@pytest.mark.parametrize("focal", [0.7, 1.8])
def test_an_exact_scene_is_found(shift: float, focal: float) -> None:
    points = _points(focal, shift)
    found, f = recover_shift(points, _everywhere(points), ASPECT, None)
    assert float(found) == pytest.approx(shift, abs=1e-4)
    assert float(f) == pytest.approx(focal, rel=1e-4)
    known, given = recover_shift(points, _everywhere(points), ASPECT, focal)
    assert float(known) == pytest.approx(shift, abs=1e-5)
    assert float(given) == pytest.approx(focal)


def _cost(points: Tensor, shifts: Tensor, focal: float | None) -> Tensor:
    """The sum that shall be smallest, over all cells, for each of many shifts; written anew."""
    uv = view_plane(points.shape[1], points.shape[2], ASPECT, CPU).double().flatten()
    seen = (points[:2].double() / (points[2] + shifts[:, None, None, None])).flatten(1)
    f = (seen @ uv / seen.square().sum(1))[:, None] if focal is None else focal
    return (f * seen - uv).square().sum(1)


@pytest.mark.parametrize("focal", [None, 1.0, 1.3])
def test_of_noisy_points_it_is_the_least_squares_solution(focal: float | None) -> None:
    points = _points(1.1, 0.5, noise=0.15, rows=64, columns=64)
    found, _ = recover_shift(points, _everywhere(points), ASPECT, focal)
    around = torch.linspace(-0.3, 0.3, 121) + float(found)
    costs = _cost(points, around, focal)
    assert int(costs.argmin()) == 60
    assert float(found) != pytest.approx(0.0, abs=0.05)


def test_cells_that_do_not_count_have_no_part() -> None:
    points = _points(1.2, 0.6)
    counts = _everywhere(points)
    counts[:40] = False
    points[:, :40] = torch.tensor([torch.inf, torch.nan, 1e-20])[:, None, None]
    found, f = recover_shift(points, counts, ASPECT, None)
    assert float(found) == pytest.approx(0.6, abs=1e-4)
    assert float(f) == pytest.approx(1.2, rel=1e-4)


@pytest.mark.parametrize("focal", [None, 1.7])
def test_without_cells_nothing_is_shifted(focal: float | None) -> None:
    points = _points(1.2, 0.6)
    shift, f = recover_shift(points, torch.zeros(points.shape[1:], dtype=torch.bool), ASPECT, focal)
    assert float(shift) == 0.0
    assert float(f) == pytest.approx(focal or 1.0)


def test_a_point_does_not_come_to_lie_behind_the_camera() -> None:
    points = _points(1.0, 0.0)
    points[2] = points[2].clamp_min(1.3)  # the steps would overshoot where points are far off their rays
    points[:2] *= 5
    shift, _ = recover_shift(points, _everywhere(points), ASPECT, 0.2)
    assert float(shift) > -1.3


def test_normals_are_turned_only_as_far_as_need_be() -> None:
    ray = torch.tensor([0.0, 0.0, 2.0])[:, None, None]
    normals = torch.tensor([[0.0, 0.6, 0.6], [0.0, 0.0, 0.0], [-1.0, -0.8, 0.8]])[:, None]
    turned = turned_to_camera(normals, ray)[:, 0].T
    torch.testing.assert_close(turned, torch.tensor([[0.0, 0.0, -1.0], [0.6, 0.0, -0.8], [1.0, 0.0, 0.0]]))
