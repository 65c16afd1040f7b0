"""Poses and rays, on cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.reconstruction.geometry import composed, inverse, moved, rays

QUARTER = np.array([[0, -1, 0, 1.0], [1, 0, 0, 2.0], [0, 0, 1, 3.0]])  # a quarter turn about the optical axis, then a step


def test_a_ray_reaches_its_pixel_at_depth_1() -> None:
    camera = Camera(4, 3, 2.0, 4.0, 1.0, 2.0)
    looks = rays(camera)
    assert looks.shape == (3, 3, 4)
    assert looks[:, 2, 3].tolist() == [1.0, 0.0, 1.0]
    assert looks[:, 0, 1].tolist() == [0.0, -0.5, 1.0]


def test_a_pose_moves_points_and_its_inverse_moves_them_back() -> None:
    points = np.array([[1.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    there = moved(points, QUARTER)
    assert there.T.tolist() == [[1.0, 3.0, 3.0], [-4.0, 2.0, 3.0]]
    assert np.allclose(moved(there, inverse(QUARTER)), points)


def test_poses_are_done_one_after_the_other() -> None:
    step = np.concatenate((np.eye(3), [[10.0], [0.0], [0.0]]), 1)
    points = np.random.default_rng(0).normal(size=(3, 2, 5))
    assert np.allclose(moved(points, composed(step, QUARTER)), moved(moved(points, QUARTER), step), atol=1e-5)
    assert np.allclose(composed(inverse(QUARTER), QUARTER), np.eye(4)[:3])
