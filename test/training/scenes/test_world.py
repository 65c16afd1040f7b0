"""Worlds by name, and what is told where one cannot be made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes import primitives, world
from depth_retrofit_ros.training.scenes.textures import build_textures
from depth_retrofit_ros.training.scenes.world import WORLDS, WorldInfo, WorldSpec, check_camera, check_world, load_world, usable


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"odd": WorldInfo("no_such_package.world"), "meshes": WorldInfo("x", needs_assets=True)}
    monkeypatch.setattr(world, "WORLDS", {**WORLDS, **more})
    cases = {
        WorldSpec("nowhere", 1): "unknown world 'nowhere': choose of primitives, thin",
        WorldSpec("meshes", 1): "give their folder with --assets",
        WorldSpec("thin", 1, assets=tmp_path / "absent"): "no folder",
        WorldSpec("thin", 1, assets=tmp_path): "no textures at",
        WorldSpec("odd", 1): "needs the Python package no_such_package",
    }
    for spec, told in cases.items():
        for refuses in (load_world, check_world):
            with pytest.raises(DatasetError, match=told) as error:
                refuses(spec)
            assert "\n" not in str(error.value)


def test_primitives_are_drawn_deterministically(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitives, "build_textures", lambda seed, photos=None: build_textures(seed, count=5, photos=photos))
    made, camera = load_world(WorldSpec("primitives", 3)), Camera.from_hfov(64, 48, 60)
    first, again, other = (made.view(np.random.default_rng(seed), camera) for seed in (1, 1, 2))
    image = first.render(camera).image.numpy()
    np.testing.assert_array_equal(image, again.render(camera).image.numpy())
    assert first.kind in {"room", "street", "clutter", "leaves"}
    assert not np.array_equal(image, other.render(camera).image.numpy())


def test_usable_is_free_space_and_not_only_sky() -> None:
    depth = np.full((40, 50), 3.0, np.float32)
    assert usable(depth)
    depth[:28] = np.inf
    assert not usable(np.where(np.arange(40)[:, None] < 30, np.inf, depth))
    assert not usable(np.where(np.arange(40)[:, None] < 1, 0.1, 3.0))


def test_check_camera_is_small_and_of_the_same_shape() -> None:
    small = check_camera(Camera.from_hfov(2560, 1440, 70))
    assert (small.width, small.height) == (96, 54)
    assert small.hfov_deg == pytest.approx(70)
