"""The normals that URGT is given."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.pointcloud.normals import normals_of
from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes
from depth_retrofit_ros.refinement.urgt.prior import CoarseNormals
from test.refinement.nets import two_planes

CAMERA = Camera.from_hfov(120, 90, 60.0)


def test_without_a_camera_they_are_zero() -> None:
    assert not CoarseNormals()(two_planes(), None).any()


def test_they_face_the_camera() -> None:
    normals = CoarseNormals()(two_planes(), CAMERA)
    assert normals.shape == (3, 18, 24) and float(normals[2].max()) < 0
    torch.testing.assert_close(normals.norm(dim=0), torch.ones(18, 24))


def test_a_model_s_own_are_taken_and_what_is_not_known_is_zero() -> None:
    planes = two_planes()
    own = torch.zeros(3, 18, 24)
    own[2], own[:, 4, 5], own[0, 6, 7] = -1.0, torch.nan, torch.inf
    normals = CoarseNormals()(CoarsePrediction(planes.depth, planes.features, normals=own), CAMERA)
    assert bool(normals.isfinite().all()) and not normals[:, 4, 5].any() and float(normals.abs().max()) == 1


def test_a_stream_s_rays_are_those_of_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device they are sent through pinned memory."""
    seen = list[RaySlopes | None]()

    def recorded(depth: torch.Tensor, camera: Camera, rays: RaySlopes | None = None) -> torch.Tensor:
        seen.append(rays)
        return normals_of(depth, camera, rays=rays)

    monkeypatch.setattr("depth_retrofit_ros.refinement.urgt.prior.normals_of", recorded)
    made = CoarseNormals()
    for _ in range(3):
        made(two_planes(), CAMERA)
    assert len(seen) == 3 and seen[0] is seen[1] is seen[2] is not None


def test_a_copy_can_be_made_of_one_that_was_used() -> None:
    made = CoarseNormals()
    first = made(two_planes(), CAMERA)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert torch.equal(other(two_planes(), CAMERA), first)
