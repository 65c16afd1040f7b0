"""What the path-traced frames are made of: passes, depth, development, simulated answers, and models that no training has seen.

Only the last test renders; it needs Blender as a Python module (benchmarks/path_traced_frames.py says where).
"""

from __future__ import annotations

import importlib
import itertools
import sys
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training import degradations
from test.paths import ROOT


@pytest.fixture(scope="module")
def frames() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("path_traced_frames")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def assets(frames: ModuleType) -> Any:
    return sys.modules["path_traced.assets"]


def scene_depth() -> np.ndarray:
    """A post before a wall under the sky, ``[108, 192]``."""
    depth = np.full((108, 192), 5, np.float32)
    depth[:40] = np.inf
    depth[20:, 90:96] = 2
    return depth


def test_passes_are_told_by_name_and_channels_by_letter(frames: ModuleType) -> None:
    channels = {f"View.Layer.Combined.{c}": np.full((2, 3), i) for i, c in enumerate("ABGR")}
    found = frames.passes(channels | {"View.Layer.Depth.Z": np.full((2, 3), 7.0)})
    assert {name: value.shape for name, value in found.items()} == {"Combined": (2, 3, 3), "Depth": (2, 3)}
    assert found["Combined"][0, 0].tolist() == [3, 2, 1]
    assert found["Depth"][0, 0] == 7


def test_where_rays_meet_nothing_depth_is_infinite(frames: ModuleType) -> None:
    depth = frames.known_depth(np.array([[1.5, 1e10]]))
    assert depth.dtype == np.float32
    assert depth.tolist() == [[1.5, np.inf]]


def test_development_does_not_depend_on_the_light(frames: ModuleType) -> None:
    linear = np.random.default_rng(0).uniform(0.01, 2, (40, 60, 3))
    image = frames.develop(linear)
    assert image.dtype == np.uint8
    assert np.abs(frames.develop(100 * linear).astype(int) - image).max() <= 1
    grey = frames.develop(np.linspace(0.01, 5, 300)[None, :, None].repeat(3, axis=2))[0]
    assert (np.diff(grey.astype(int), axis=0) >= 0).all()
    assert 100 < np.median(grey) < 200
    assert (grey[:290] < 255).all()


def test_black_stays_black(frames: ModuleType) -> None:
    assert frames.develop(np.zeros((4, 4, 3))).max() == 0


@pytest.mark.parametrize("long_side", [518, 256, 100])
def test_simulated_answers_have_the_size_that_was_asked_for(frames: ModuleType, long_side: int) -> None:
    depth, sides = scene_depth().repeat(5, axis=0).repeat(5, axis=1), degradations.LONG_SIDES
    coarse = frames.coarse_map(np.random.default_rng(1), depth, long_side)
    assert coarse.shape == (round(long_side * 108 / 192), long_side)
    assert np.isfinite(coarse).all() and (coarse > 0).all()
    assert coarse[:10].mean() > 2 * coarse[-10:, :40].mean()  # the sky is farther than the wall
    assert sides == degradations.LONG_SIDES
    assert np.array_equal(coarse, frames.coarse_map(np.random.default_rng(1), depth, long_side))


def test_a_frame_too_small_for_the_answer_is_refused(frames: ModuleType) -> None:
    with pytest.raises(DatasetError, match="not with a long side of 518"):
        frames.coarse_map(np.random.default_rng(1), scene_depth(), 518)


def test_each_frame_gets_one_map_of_each_size(frames: ModuleType, tmp_path: Path) -> None:
    big = scene_depth().repeat(5, axis=0).repeat(5, axis=1)
    (tmp_path / "frames").mkdir()
    for name in ("a", "b"):
        np.savez(tmp_path / "frames" / f"{name}.npz", depth=big)
    frames.simulate_maps(Namespace(frames=tmp_path / "frames", out=tmp_path, seed=3))
    for long_side in (518, 256):
        a, b = (np.load(tmp_path / f"coarse{long_side}" / f"{name}.npz") for name in ("a", "b"))
        assert set(a) == {"depth", "metric"}
        assert not a["metric"]
        assert a["depth"].shape[1] == long_side
        assert not np.array_equal(a["depth"], b["depth"])
    before = np.load(tmp_path / "coarse256" / "b.npz")["depth"]
    (tmp_path / "frames" / "a.npz").unlink()
    frames.simulate_maps(Namespace(frames=tmp_path / "frames", out=tmp_path, seed=3))
    assert np.array_equal(np.load(tmp_path / "coarse256" / "b.npz")["depth"], before)


def test_no_frames(frames: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="render frames first"):
        frames.simulate_maps(Namespace(frames=tmp_path, out=tmp_path, seed=3))


def write_library(path: Path, models: dict[str, bytes]) -> None:
    """A furniture library of models by stem, each with one texture."""
    lines = []
    with zipfile.ZipFile(path, "w") as files:
        for number, (stem, texture) in enumerate(models.items(), 1):
            lines += [f"model#{number}=/{stem}/{stem}.obj", f"height#{number}=150", f"elevation#{number}=20"]
            files.writestr(f"{stem}/{stem}.obj", f"# {stem}")
            files.writestr(f"{stem}/texture.jpg", texture)
        files.writestr("PluginFurnitureCatalog.properties", "\n".join(lines))


def test_models_that_training_may_have_seen_are_left_out(assets: Any, tmp_path: Path) -> None:
    names = (f"chair{i}" for i in itertools.count())
    ours = list(itertools.islice((name for name in names if assets.held_out(name)), 4))
    theirs = next(name for name in names if not assets.held_out(name))
    write_library(tmp_path / "a.sh3f", {ours[0]: b"wood", ours[1]: b"steel", theirs: b"steel"})
    write_library(tmp_path / "b.sh3f", {ours[2]: b"steel", ours[3]: b"cloth"})
    catalog = assets.read_catalog(tmp_path)
    assert set(catalog) == {ours[0], ours[3]}
    assert catalog[ours[3]] == assets.Model(tmp_path / "b.sh3f", f"{ours[3]}/{ours[3]}.obj", 1.5, 0.2)


def test_one_name_in_eight_is_held_out(assets: Any) -> None:
    assert 0.11 < np.mean([assets.held_out(f"name{i}") for i in range(4000)]) < 0.14


def test_without_blender(frames: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bpy", None)
    with pytest.raises(DatasetError, match="pip install bpy"):
        frames.Stage(np.random.default_rng(0), {}, make_textures(tmp_path), tmp_path)


def test_assets_that_are_not_there(assets: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.sh3f").write_bytes(b"no zip")
    with pytest.raises(DatasetError, match=r"cannot read .*broken\.sh3f"):
        assets.read_catalog(tmp_path)
    (tmp_path / "broken.sh3f").unlink()
    with pytest.raises(DatasetError, match="give --furniture"):
        assets.read_catalog(tmp_path)
    with pytest.raises(DatasetError, match="give --textures"):
        assets.read_textures(tmp_path / "none.pk3")


def test_depth_is_of_pixel_centres_along_the_optical_axis(frames: ModuleType, tmp_path: Path) -> None:
    """A red ball on the right and a blue one above it, before a wall that is not square to the axis."""
    bpy = pytest.importorskip("bpy", reason="bpy is not installed: Blender as a Python module, in an environment of its own")
    camera = Camera.from_hfov(96, 64, 70)
    stage = frames.Stage(np.random.default_rng(0), {}, make_textures(tmp_path), tmp_path)
    frames.place_camera(bpy, camera, 1.0, 0, 0)
    normal, through = np.array([-0.5, 1.0, 0.3]), np.array([0, 6.0, 1.0])
    corners = [through + np.cross(normal, [0, 0, 1]) * s * 9 + np.cross(normal, [1, 0, 0]) * t * 9 for s, t in SQUARE]
    wall = bpy.data.meshes.new("wall")
    wall.from_pydata([tuple(corner) for corner in corners], [], [(0, 1, 2, 3)])
    stage.add("wall", wall, stage.plain(0.5, 0.5))
    for color, place in (((1, 0, 0, 1), (1, 3, 1)), ((0, 0, 1, 1), (0, 3, 1.9))):
        bpy.ops.mesh.primitive_uv_sphere_add(segments=128, ring_count=64, radius=0.4, location=place)
        material = stage.plain()
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = color
        bpy.context.object.data.materials.append(material)
    sys.modules["path_traced.surroundings"].lamp(stage, (0, 0, 4), 3, 500)
    image, depth = frames.shoot(bpy, camera, 4, 1, tmp_path)

    x, y = np.meshgrid((np.arange(96) - camera.cx) / camera.fx, (np.arange(64) - camera.cy) / camera.fy)
    rays = np.stack([x, np.ones_like(x), -y], axis=-1)
    expected = (through - [0, 0, 1]) @ normal / (rays @ normal)
    for center in ((1, 3, 0), (0, 3, 0.9)):
        along, square = rays @ np.array(center), (rays**2).sum(-1)
        inside = along**2 - square * (np.dot(center, center) - 0.4**2)
        expected = np.where(inside > 0, (along - np.sqrt(np.maximum(inside, 0))) / square, expected)
    wrong = np.abs(depth / expected - 1) > 2e-3
    assert wrong.mean() < 5e-3  # pixels at the outline of the balls, which have corners
    right, above = image[32, 48 + round(camera.fx / 3)].astype(int), image[32 - round(0.9 * camera.fx / 3), 48].astype(int)
    assert right[0] > 2 * right[2] and above[2] > 2 * above[0]


SQUARE = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def make_textures(folder: Path) -> Path:
    """An archive without pictures."""
    with zipfile.ZipFile(folder / "none.pk3", "w"):
        return folder / "none.pk3"
