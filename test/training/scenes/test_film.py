"""The bundled film: complete, believable in its numbers, and the same camera at any smaller size."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError, OutputError, UsageError
from depth_retrofit_ros.evaluation.metrics.nearest import NearestPoints
from depth_retrofit_ros.reconstruction.geometry import moved, rays
from depth_retrofit_ros.training.scenes.film import FOLDER, NEAREST_M, Film, decode_depth, encode_depth, write_film
from depth_retrofit_ros.training.scenes.meshes.attribution import LINKS
from depth_retrofit_ros.training.scenes.video import VideoFrame

MOST_BYTES = 6_000_000


def slanted(width: int = 48, height: int = 32) -> VideoFrame:
    """A floor whose color says how deep it is, below a sky."""
    camera = Camera.from_hfov(width, height, 60.0)
    _, slope = camera.ray_slopes()
    with np.errstate(divide="ignore"):
        depth = np.where(slope > 0.05, 1.2 / slope, np.inf)[:, None].repeat(width, 1).astype(np.float32)
    grey = np.where(np.isfinite(depth), 255 * np.exp(-depth / 10), 0)
    return VideoFrame(np.repeat(grey[..., None], 3, 2).astype(np.uint8), depth, camera)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_film(tmp_path / "film", [slanted(), slanted()])
    return tmp_path / "film"


def test_depth_survives_to_a_fortieth_of_a_percent() -> None:
    depth = np.geomspace(NEAREST_M, 1e5, 9973, dtype=np.float32)[None]
    np.testing.assert_allclose(decode_depth(encode_depth(depth)), depth, rtol=2.5e-4)
    assert np.isposinf(decode_depth(encode_depth(np.array([[np.inf]], np.float32)))).all()


@pytest.mark.parametrize("bad", [0.05, np.nan, -1.0])
def test_depth_that_has_no_value_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="or unknown"):
        encode_depth(np.array([[bad]], np.float32))


def test_at_its_own_size_it_is_what_was_written(folder: Path) -> None:
    film, view = Film(folder), slanted()
    assert len(film) == 2
    for frame in film.views(48, 32):
        assert frame.camera == view.camera
        assert np.abs(frame.image.astype(int) - view.image).mean() < 4, "JPEG"
        np.testing.assert_allclose(frame.depth, view.depth, rtol=2.5e-4)


@pytest.mark.parametrize("size", [(24, 16), (33, 22), (32, 32), (48, 10), (16, 24), (1, 1)])
def test_a_smaller_camera_sees_the_same_floor(folder: Path, size: tuple[int, int]) -> None:
    """Pixel for pixel its rays meet the floor where its depth says, up to half a pixel of the film."""
    frame = next(Film(folder).views(*size))
    assert frame.image.shape == (size[1], size[0], 3) and frame.depth.shape == (size[1], size[0])
    assert (frame.camera.width, frame.camera.height) == size
    assert frame.camera.fx == pytest.approx(frame.camera.fy, rel=0.05), "nothing is squeezed"
    known = np.isfinite(frame.depth[:, 0])
    _, slope = frame.camera.ray_slopes()
    half = 0.51 / slanted().camera.fy
    assert (np.abs(1.2 / frame.depth[known, 0] - slope[known]) < half).all()


def test_a_larger_camera_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"the film is 48x32, smaller than 49x20: choose --width up to 48 and --height up to 32"):
        Film(folder).views(49, 20)


@pytest.mark.parametrize("name", ["film.json", "view_0.jpg", "view_1.png"])
def test_what_is_missing_or_damaged_is_told(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{}")
    with pytest.raises(DatasetError, match="missing or damaged"):
        list(Film(folder).views(24, 16))
    shutil.rmtree(folder)
    with pytest.raises(DatasetError, match="install the package again"):
        Film(folder)


def test_views_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_film(tmp_path, [replace(slanted(), depth=np.full((32, 48), 1.0 + i, np.float32)) for i in range(12)])
    assert [round(float(view.depth[0, 0])) for view in Film(tmp_path).views(8, 8)] == list(range(1, 13))


def test_a_shorter_film_takes_the_place_of_a_longer_one(folder: Path) -> None:
    (folder / "view_of_the_sea.jpg").write_bytes(b"of someone else")
    write_film(folder, [slanted(24, 16)])
    assert {path.name for path in folder.iterdir()} == {"film.json", "view_0.jpg", "view_0.png", "view_of_the_sea.jpg"}
    assert len(Film(folder)) == 1 and Film(folder).camera.width == 24


def test_a_film_has_one_camera(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="view 1 is of another camera"):
        write_film(tmp_path, [slanted(), slanted(24, 16)])
    with pytest.raises(ValueError, match="no views"):
        write_film(tmp_path, [])


def test_what_no_picture_can_hold_is_told(tmp_path: Path) -> None:
    """JPEG ends at 65,535 pixels."""
    wide = np.ones((1, 70_000), np.float32)
    view = VideoFrame(np.zeros((1, 70_000, 3), np.uint8), wide, Camera.from_hfov(70_000, 1, 60.0))
    with pytest.raises(OutputError, match=r"cannot encode .*view_0\.jpg of 70000x1: choose a smaller width") as error:
        write_film(tmp_path, [view])
    assert "\n" not in str(error.value)


def test_the_bundled_film_is_small_and_says_who_made_its_models() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MOST_BYTES
    lines = re.findall(r"^- .*", (FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert any("Scopia" in line for line in lines)
    for line in lines:
        licence = re.search(r", (CC[^(]*) \((\S+)\)(, .*©.+)?$", line)
        assert licence is not None and LINKS[licence[1]] == licence[2], line
        assert licence[3] or not re.search("Scopia|Kator", line), f"without its copyright notice: {line}"


def test_the_bundled_film_is_a_room_seen_by_a_moving_camera() -> None:
    film = Film()
    views = list(film.views(640, 360))
    assert (film.camera.width, film.camera.height) == (2560, 1440) and len(views) == 4
    for view in views:
        known = np.isfinite(view.depth)
        assert known.mean() > 0.9 and view.depth.min() > 0.3 and 1 < np.median(view.depth[known]) < 6
        edges = np.abs(np.diff(np.log(np.where(known, view.depth, 100)), axis=1)) > 0.1
        assert edges.mean() > 0.01, "things stand before others"
        assert 40 < view.image.mean() < 180
    for before, after in pairwise(views):
        assert not np.array_equal(before.depth, after.depth)
        assert np.median(np.abs(np.log(before.depth / after.depth))[np.isfinite(before.depth) & np.isfinite(after.depth)]) < 0.05


def test_the_bundled_depth_belongs_to_its_pictures() -> None:
    """Where depth jumps, the picture has an edge more often than elsewhere."""
    view = next(Film().views(1280, 720))
    gray = cv2.GaussianBlur(cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    change = np.abs(np.diff(gray, axis=1))
    jump = np.abs(np.diff(np.log(np.minimum(view.depth, 50)), axis=1)) > 0.1
    assert change[jump].mean() > 4 * change[~jump].mean()


def test_the_bundled_poses_are_those_that_the_views_were_taken_from() -> None:
    """What one view sees lies on what the first one saw, up to what a pixel covers; without the poses it does not."""
    film = Film()
    views, poses = list(film.views(320, 180)), film.poses()
    assert len(poses) == len(views)
    clouds = [moved(rays(view.camera) * view.depth, np.eye(4)[:3]).reshape(3, -1) for view in views]
    seen = NearestPoints(clouds[0].T)
    for cloud, pose in zip(clouds[1:], poses[1:], strict=True):
        there = pose.rotation @ cloud + pose.position[:, None]
        assert np.median(seen.distances(there.T)) < 0.01
        assert np.median(seen.distances(cloud.T)) > 0.02
