"""Angles between normals, and the reference from exact depth."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.metrics.normals import angles_deg, angular_error
from depth_retrofit_ros.pointcloud.exact_normals import exact_normals

CAMERA = Camera(60, 40, 70.0, 65.0, 28.0, 21.0)


def _turned(degrees: float) -> np.ndarray:
    return np.array([np.sin(np.radians(degrees)), 0.0, -np.cos(np.radians(degrees))], np.float32)


@pytest.mark.parametrize("degrees", [0.0, 0.01, 11.0, 90.0, 179.0])
def test_angles_are_exact_from_small_to_large(degrees: float) -> None:
    found = angles_deg(_turned(degrees)[:, None, None], _turned(0.0)[:, None, None])
    assert found.item() == pytest.approx(degrees, rel=1e-3, abs=1e-3)


def test_errors_are_over_the_pixels_that_both_know() -> None:
    reference = np.repeat(_turned(0.0)[:, None, None], 5, 2)
    normals = np.stack([_turned(angle) for angle in (1.0, 2.0, 12.0, 50.0, 80.0)], axis=-1)[:, None]
    normals[:, 0, 4] = np.nan
    errors = angular_error(normals, reference)
    assert errors["normal_mean"] == pytest.approx(65 / 4, rel=1e-3)
    assert errors["normal_median"] == pytest.approx(7.0, rel=1e-3)
    assert errors["normal_within"] == 0.5
    picked = angular_error(normals, reference, np.array([[True, False, False, False, True]]))
    assert picked["normal_mean"] == pytest.approx(1.0, rel=1e-2)
    assert all(np.isnan(value) for value in angular_error(normals, np.full_like(normals, np.nan)).values())


def _plane(normal: np.ndarray, distance: float) -> np.ndarray:
    x, y = CAMERA.ray_slopes()
    return np.asarray(-distance / (normal[0] * x + normal[1] * y[:, None] + normal[2]), np.float32)


def test_exact_depth_has_exact_normals_on_both_sides_of_an_edge_and_a_crease() -> None:
    wall, other = np.array([-0.6, 0.0, -0.8]), np.array([0.0, -0.8, -0.6])
    for depth in (
        np.where(np.arange(60) < 30, _plane(wall, 1.0), _plane(other, 3.0)),  # an edge
        np.minimum(_plane(wall, 1.0), _plane(other, 1.0)),  # a crease
    ):
        normals = exact_normals(depth, CAMERA)
        angle = np.minimum(*(angles_deg(normals, np.broadcast_to(n[:, None, None], normals.shape)) for n in (wall, other)))
        known = np.isfinite(angle)
        assert known.mean() > 0.93 and angle[known].max() < 0.5


def test_what_is_no_surface_has_no_reference() -> None:
    rng = np.random.default_rng(0)
    leaves = rng.uniform(1, 5, (40, 60)).astype(np.float32)
    assert np.isfinite(exact_normals(leaves, CAMERA)).mean() < 0.2
    hole = np.full((40, 60), 2.0, np.float32)
    hole[10, 10] = np.nan
    normals = exact_normals(hole, CAMERA)
    assert np.isnan(normals[:, 10, 10]).all() and np.isfinite(normals).all(0).sum() == 40 * 60 - 1
