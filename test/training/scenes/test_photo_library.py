"""Photographs and textures: what is taken, what is left to validation, what is told where there is nothing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.errors import DatasetError, ImageError
from depth_retrofit_ros.training.scenes import photo_library
from depth_retrofit_ros.training.scenes.held_out import held_out
from depth_retrofit_ros.training.scenes.photo_library import PACK, open_library
from depth_retrofit_ros.training.scenes.world import WorldSpec

BLUE = np.full((200, 300, 3), (250, 20, 10), np.uint8)  # as OpenCV has it


def png(image: np.ndarray) -> bytes:
    """Encoded."""
    return bytes(cv2.imencode(".png", image)[1])


def leaf() -> np.ndarray:
    """A disc with alpha."""
    alpha = np.zeros((200, 300), np.uint8)
    cv2.circle(alpha, (150, 100), 60, 255, -1)
    return np.dstack([BLUE, alpha])


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A package with 120 textures, a shape, and what is no surface."""
    pack = tmp_path / PACK
    pack.parent.mkdir(parents=True)
    with zipfile.ZipFile(pack, "w") as file:
        for i in range(60):
            for variant in ("01", "02"):
                file.writestr(f"textures/tex_wall/{'kind' + chr(97 + i // 26) + chr(97 + i % 26)}x{variant}.png", png(BLUE))
        file.writestr("textures/tex_nature/leaves1.png", png(leaf()))
        file.writestr("textures/tex_wall/kindaax01_nm.png", png(BLUE))
        file.writestr("textures/tex_wall/kindaax_a1.png", png(BLUE))
        file.writestr("textures/tex_lights/lamp.png", png(BLUE))
        file.writestr("textures/tex_wall/tiny.png", png(BLUE[:20, :20]))
        file.writestr("textures/readme.txt", b"")
    return tmp_path


def names(assets: Path, held_out: bool) -> set[str]:
    """Of the textures."""
    return {source.name for source in open_library(WorldSpec("thin", 1, assets=assets, held_out=held_out)).textures}


def test_training_and_validation_share_no_texture(assets: Path) -> None:
    train, held_out = names(assets, False), names(assets, True)
    assert train and held_out and not train & held_out
    assert 0.03 < len(held_out) / (len(train) + len(held_out)) < 0.25
    assert all("_nm" not in name and "_a1" not in name and "tex_lights" not in name for name in train | held_out)


def test_which_texture_is_validations_never_changes() -> None:
    """Other worlds split alike."""
    assert [stem for stem in ("leaves1", "leaves2", "leaves3", "leaves4", "fence", "tree_g_1") if held_out(stem)] == [
        "leaves4",
        "fence",
    ]


def test_images_are_rgb_and_each_is_taken_once(assets: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "deeper"
    photos.mkdir(parents=True)
    for i in range(3):
        (photos / f"{i}.jpg").write_bytes(bytes(cv2.imencode(".jpg", np.full((3000, 4000, 3), 40 * i, np.uint8))[1]))
    library = open_library(WorldSpec("thin", 1, tmp_path / "photos", assets))
    images = library.images(np.random.default_rng(0), photos=9, textures=4)
    assert len(images) == 7
    assert sorted(int(image[0, 0, 0]) // 38 for image in images[:3]) == [0, 1, 2]
    assert images[0].shape == (1536, 2048, 3)
    assert images[3][0, 0].tolist() == [10, 20, 250]
    parts = [library, open_library(WorldSpec("thin", 1, None, assets, held_out=True))]
    (tiny,) = [source for part in parts for source in part.textures if "tiny" in source.name]
    assert tiny.rgb() is None


def test_a_shape_is_the_alpha(assets: Path) -> None:
    library = open_library(WorldSpec("thin", 1, assets=assets))
    assert [Path(s.name).name for s in library.shapes] == ["leaves1.png"]
    alpha = library.shapes[0].shape()
    assert alpha is not None and (alpha > 0.5).mean() == pytest.approx(np.pi * 60**2 / 60000, rel=0.03)
    assert library.textures[0].shape() is None


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images in"):
        open_library(WorldSpec("thin", 1, photos=tmp_path))
    with pytest.raises(DatasetError, match="unpack the package"):
        open_library(WorldSpec("thin", 1, assets=tmp_path))
    assert open_library(WorldSpec("thin", 1)) == photo_library.PhotoLibrary((), (), ())
