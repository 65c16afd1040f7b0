"""Rotations, rods and the arrays that a scene becomes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_retrofit_ros.training.scenes.scene import Kind, Material, SceneBuilder, frame_along, rotation_ypr
from test.training.scenes.simple import GRAY, even_light


@pytest.mark.parametrize("seed", range(4))
def test_rotations_are_rotations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    for rotation in (rotation_ypr(*rng.uniform(-4, 4, 3)), frame_along(axis)):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("angles", "forward"),
    [((np.pi / 2, 0, 0), (1, 0, 0)), ((0, np.pi / 2, 0), (0, -1, 0)), ((0, 0, np.pi / 2), (0, 0, 1))],
)
def test_yaw_looks_right_and_pitch_looks_up(angles: tuple[float, float, float], forward: tuple[float, float, float]) -> None:
    """Axes: x right, y down, z forward."""
    np.testing.assert_allclose(rotation_ypr(*angles) @ [0, 0, 1], forward, atol=1e-12)


@pytest.mark.parametrize("axis", [(0, 1, 0), (0, -1, 0), (1, 0, 0), (0, 0, -1), (0.6, 0.0, 0.8)])
def test_frame_along_has_the_axis_as_third_column(axis: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(frame_along(np.array(axis, float))[:, 2], axis, atol=1e-12)


def test_a_rod_reaches_from_start_to_end() -> None:
    builder = SceneBuilder()
    start, end = np.array([1.0, -2.0, 3.0]), np.array([1.5, 0.0, 7.0])
    builder.rod(start, end, 0.02, GRAY)
    along = builder.rotations[0][:, 2] * builder.halves[0][2]
    ends = np.stack([builder.centers[0] - along, builder.centers[0] + along])
    np.testing.assert_allclose(ends, np.stack([start, end]), atol=1e-5)
    assert builder.kinds == [Kind.CYLINDER] and builder.halves[0][0] == builder.halves[0][1] == np.float32(0.02)


def test_a_rod_of_no_length_is_nothing() -> None:
    builder = SceneBuilder()
    builder.rod(np.ones(3), np.ones(3), 0.02, GRAY)
    assert builder.kinds == []


def test_arrays_keep_the_order_and_the_materials() -> None:
    builder = SceneBuilder()
    look = Material(5, 0.7, np.array([0.1, 0.2, 0.3]), gloss=0.4, cutout=2, cutout_scale_m=0.9)
    builder.add(Kind.BOX, (1, 2, 3), (0.5, 0.6, 0.7), GRAY)
    builder.add(Kind.QUAD, (4, 5, 6), (1, 1, 0), look, rotation_ypr(0.3, 0.2, 0.1), casts_shadow=False)
    scene = builder.build(even_light()).to(torch.device("cpu"))
    assert scene.kind.tolist() == [Kind.BOX, Kind.QUAD]
    assert scene.texture.tolist() == [0, 5] and scene.cutout.tolist() == [-1, 2] and scene.casts.tolist() == [True, False]
    torch.testing.assert_close(scene.tint[1], torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(scene.scale_m, torch.tensor([1.0, 0.7]))
    torch.testing.assert_close(scene.gloss, torch.tensor([0.0, 0.4]))
    torch.testing.assert_close(scene.cutout_scale_m[1], torch.tensor(0.9))
    assert float(scene.half.min()) > 0  # a flat shape still has an inverse


def test_corners_of_a_turned_box() -> None:
    builder = SceneBuilder()
    builder.add(Kind.BOX, (10, 0, 0), (1, 2, 3), GRAY, rotation_ypr(np.pi / 2, 0, 0))
    corners = builder.build(even_light()).corners()[0].numpy()
    assert corners.shape == (8, 3)
    np.testing.assert_allclose(corners.min(0), [7, -2, -1], atol=1e-5)
    np.testing.assert_allclose(corners.max(0), [13, 2, 1], atol=1e-5)
