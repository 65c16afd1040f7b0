"""Footprints, and where a thing can rest on another."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.training.scenes.meshes.obj import Mesh
from depth_retrofit_ros.training.scenes.meshes.placing import Floor, Footprint, facing, rests
from depth_retrofit_ros.training.scenes.meshes.soup import Paint, SoupBuilder
from depth_retrofit_ros.training.scenes.scene import rotation_ypr


def footprint(x: float, z: float, yaw: float = 0.0, bottom: float = 0.0, top: float = 1.0) -> Footprint:
    return Footprint(x, z, 1.0, 0.5, yaw, bottom, top)


def table(*boxes: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Mesh:
    """Boxes (center, half)."""
    builder = SoupBuilder()
    paint = Paint(builder.material((0.5, 0.5, 0.5)), 1.0)
    for center, half in boxes:
        builder.box(center, half, paint)
    soup = builder.build()
    return Mesh(soup.points, soup.normals, soup.uv, soup.surface)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (footprint(1.9, 0.0), True),
        (footprint(2.1, 0.0), False),
        (footprint(1.4, 0.0, np.pi / 2), True),
        (footprint(1.6, 0.0, np.pi / 2), False),
        (footprint(1.6, 1.0, np.pi / 4), False),  # their bounding boxes overlap, they do not
        (footprint(0.0, 0.0, bottom=1.0, top=2.0), False),  # above it
    ],
)
def test_footprints_overlap_where_the_rectangles_do(other: Footprint, overlap: bool) -> None:
    assert footprint(0, 0).overlaps(other) is overlap and other.overlaps(footprint(0, 0)) is overlap


def test_a_place_is_taken_once_and_only_inside() -> None:
    floor = Floor(6.0, 4.0)
    assert floor.take(footprint(0.0, 2.0)) and not floor.take(footprint(0.5, 2.0))
    assert not floor.take(footprint(2.5, 2.0)) and not floor.take(footprint(0.0, 0.3)) and floor.take(footprint(-2.0, 0.5))


def test_the_front_looks_where_it_is_told() -> None:
    for direction in ((0.0, 1.0), (1.0, 0.0), (-0.6, 0.8)):
        front = rotation_ypr(facing(np.array(direction)), 0, 0) @ [0, 0, -1]
        np.testing.assert_allclose(front[[0, 2]], direction, atol=1e-12)


def test_things_rest_on_level_faces_with_room_above() -> None:
    rng = np.random.default_rng(0)
    shelf = table(((0, -0.4, 0), (0.5, 0.01, 0.2)), ((0, -1.0, 0), (0.5, 0.01, 0.2)))  # boards at 0.41 and 1.01 m
    small = {round(float(rests(shelf, rng, (0.05, 0.05), 0.3)[1]), 3) for _ in range(40)}  # type: ignore[index]
    assert small == {-0.41, -1.01}
    tall = {round(float(rests(shelf, rng, (0.05, 0.05), 0.7)[1]), 3) for _ in range(20)}  # type: ignore[index]
    assert tall == {-1.01}
    assert rests(shelf, rng, (0.6, 0.05), 0.1) is None  # it is wider


def test_nothing_rests_over_an_edge() -> None:
    rng = np.random.default_rng(0)
    step = table(((-0.25, -0.2, 0), (0.25, 0.2, 0.5)), ((0.25, -0.1, 0), (0.25, 0.1, 0.5)))  # two heights side by side
    for _ in range(60):
        spot = rests(step, rng, (0.1, 0.1), 0.2)
        assert spot is not None
        assert (spot[0] <= -0.09 and spot[1] == pytest.approx(-0.4)) or (spot[0] >= 0.09 and spot[1] == pytest.approx(-0.2))
