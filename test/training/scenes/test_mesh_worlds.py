"""Rooms and streets of small catalogues, by the real way: files, placing, light, pictures."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.meshes import assets as assets_module
from depth_retrofit_ros.training.scenes.meshes.assets import cache_folder, open_assets
from depth_retrofit_ros.training.scenes.meshes.rooms import Room
from depth_retrofit_ros.training.scenes.world import WorldSpec, check_camera, load_world, usable
from test.training.scenes.mesh_assets import write_assets

pytest.importorskip("embreex", reason="needs embreex (pip install '.[train]')")

CAMERA = Camera.from_hfov(640, 360, 70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_assets(tmp_path_factory.mktemp("assets"))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("DEPTH_RETROFIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize("name", ["rooms", "streets"])
@pytest.mark.parametrize("held_out", [False, True])
def test_views_are_usable_and_the_same_for_the_same_seed(name: str, held_out: bool, folder: Path) -> None:
    world = load_world(WorldSpec(name, 0, assets=folder, held_out=held_out))
    kinds = set()
    for seed in range(3):
        first, again = (world.view(np.random.default_rng(seed), CAMERA) for _ in range(2))
        small = check_camera(CAMERA)
        one, two = first.render(small), again.render(small)
        np.testing.assert_array_equal(one.depth, two.depth)
        np.testing.assert_array_equal(one.image, two.image)
        assert usable(one.depth) and float(one.image.min()) >= 0 and float(one.image.max()) <= 1
        assert 0.05 < float((one.image**2.2).clamp_max(0.45).mean()) < 0.45
        kinds.add(first.kind)
    assert kinds <= {"rooms": {"furnished"}, "streets": {"street", "yard"}}[name]


def test_a_room_has_furniture_that_keeps_apart_and_inside(folder: Path) -> None:
    for seed in range(12):
        room = Room(np.random.default_rng(seed), open_assets(WorldSpec("rooms", 0, assets=folder)))
        taken = room.floor.taken
        assert len(taken) >= 4
        assert not [pair for pair in combinations(taken, 2) if pair[0].overlaps(pair[1])]
        corners = np.concatenate([box.corners() for box in taken])
        assert np.abs(corners[:, 0]).max() <= room.floor.width / 2 + 0.01
        assert corners[:, 1].min() >= -0.01 and corners[:, 1].max() <= room.floor.depth + 0.01
        assert max(box.top for box in taken) <= room.height + 0.01


def test_a_camera_stands_where_nothing_else_does(folder: Path) -> None:
    room = Room(np.random.default_rng(1), open_assets(WorldSpec("rooms", 0, assets=folder)))
    for _ in range(20):
        x, y, z = room.pose().position
        assert abs(x) < room.floor.width / 2 and 0 < z < room.floor.depth and 0.3 < -y < room.height
        inside = [b for b in room.floor.taken if b.bottom < -y < b.top and np.hypot(b.x - x, b.z - z) < min(b.half_x, b.half_z)]
        assert not inside


def test_what_is_missing_is_told_in_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match=r"sweethome3d-furniture"):
        load_world(WorldSpec("rooms", 0, assets=tmp_path))
    with pytest.raises(DatasetError, match="--assets"):
        load_world(WorldSpec("streets", 0))
    monkeypatch.setattr(assets_module, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"pip install 'depth_retrofit_ros\[train\]'"):
        load_world(WorldSpec("rooms", 0, assets=folder))


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEPTH_RETROFIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "meshes"
    monkeypatch.delenv("DEPTH_RETROFIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "depth_retrofit_ros" / "meshes"
