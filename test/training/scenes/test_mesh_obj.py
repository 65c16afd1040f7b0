"""OBJ files: shapes, indices, materials, textures, and what is no OBJ file."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.meshes.obj import LARGEST_TEXTURE, Mesh, decode_texture, has_holes, read_obj
from test.training.scenes.mesh_assets import MTL, box_obj, leaf, png

FILES = {"m.mtl": MTL.encode(), "leaf.png": png(leaf())}


def read(text: str) -> Mesh:
    return read_obj(text.encode(), FILES.get, "test.obj")


def test_polygons_become_triangles_that_cover_them() -> None:
    mesh = read(box_obj())
    assert mesh.points.shape == (12, 3, 3) and mesh.normals.shape == (12, 3, 3) and mesh.uv.shape == (12, 3, 2)
    sides = mesh.points[:, 1:] - mesh.points[:, :1]
    assert np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1).sum() / 2 == pytest.approx(6)
    assert mesh.uv.min() == 0 and mesh.uv.max() == 1


def test_indices_may_count_from_the_end_and_leave_parts_out() -> None:
    mesh = read("v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf -3//1 -2//-1 -1//1\nf 1 2 3\n")
    np.testing.assert_array_equal(mesh.points[0], mesh.points[1])
    np.testing.assert_allclose(mesh.normals, np.broadcast_to([0, 0, 1], (2, 3, 3)))


def test_without_normals_a_crease_stays_and_a_curve_is_smooth() -> None:
    np.testing.assert_allclose(np.abs(read(box_obj()).normals).max(-1), 1, atol=1e-6)  # each corner has its face's
    angles = np.radians(np.arange(0, 90, 10))
    text = "".join(f"v {np.cos(a)} 0 {np.sin(a)}\nv {np.cos(a)} 1 {np.sin(a)}\n" for a in angles)
    text += "".join(f"f {2 * i + 1} {2 * i + 2} {2 * i + 4} {2 * i + 3}\n" for i in range(len(angles) - 1))
    mesh = read(text)
    outward = mesh.points * [1, 0, 1]
    assert np.abs((mesh.normals * outward).sum(-1)).min() > np.cos(np.radians(6))  # its faces are 10° apart


def test_materials_have_color_shine_opacity_and_a_texture_with_holes() -> None:
    body, pane = read(box_obj()).surfaces[0], read(box_obj("pane")).surfaces[0]
    assert body.color == (0.6, 0.4, 0.2) and body.shine == pytest.approx(0.1) and body.texture == -1
    assert pane.opacity == pytest.approx(0.2)
    mesh = read(box_obj("leaf"))
    assert mesh.surfaces[0].texture == 0 and has_holes(mesh.textures[0])
    assert read(box_obj("unheard-of")).surfaces[0].color == (0.8, 0.8, 0.8)


def test_a_mask_of_its_own_makes_the_holes() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :4] = 255
    solid = np.full((8, 8, 3), 200, np.uint8)
    files = {"m.mtl": b"newmtl cut\nmap_Kd solid.png\nmap_d mask.png\n", "solid.png": png(solid), "mask.png": png(mask)}
    texture = read_obj(box_obj("cut").encode(), files.get, "t").textures[0]
    assert texture[:, :4, 3].min() == 255 and texture[:, 4:, 3].max() == 0


def test_textures_get_sides_of_powers_of_two() -> None:
    texture = decode_texture(png(np.zeros((100, 3000, 3), np.uint8)))
    assert texture.shape == (128, LARGEST_TEXTURE, 4) and not has_holes(texture)


@pytest.mark.parametrize(
    ("text", "told"), [("v 0 zero 0\n", "no OBJ file"), ("v 0 0 0\n", "no faces"), ("v 0 0 0\nf 1 2 3\n", "no OBJ")]
)
def test_what_is_no_obj_file_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(DatasetError, match=rf"test\.obj .*{told}|test\.obj has {told}"):
        read(text)
