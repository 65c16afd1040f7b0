"""The README's pictures (benchmarks/make_pictures.py): what a panel shows, and that the film can be evaluated."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.color_map import UNKNOWN_RGB
from depth_retrofit_ros.training.scenes import film
from depth_retrofit_ros.training.scenes.video import VideoFrame
from test.paths import ROOT
from test.scripts import load_script

LARGEST_BYTES = 400_000
WIDTH, HEIGHT = 640, 480


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(ROOT / "benchmarks" / "make_pictures.py")


@pytest.fixture(scope="module")
def view() -> VideoFrame:
    """A near box before a wall."""
    depth = np.full((HEIGHT, WIDTH), 4.0, np.float32)
    depth[100:380, 200:440] = 1.5
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[depth < 2] = (200, 60, 30)
    return VideoFrame(image, depth, Camera.from_hfov(WIDTH, HEIGHT, 60.0))


@pytest.fixture(scope="module")
def result(script: ModuleType, view: VideoFrame) -> DepthFrame:
    small = cv2.resize(view.depth, (64, 48), interpolation=cv2.INTER_AREA)
    prediction = CoarsePrediction(torch.from_numpy(small), torch.zeros(2, 48, 64))
    answer: DepthFrame = script.Models(None, None).simulated(prediction)(Frame(view.image, camera=view.camera))
    return answer


def panels(row: np.ndarray) -> list[np.ndarray]:
    assert row.shape == (288, 4 * 384, 3)
    return np.split(row, 4, axis=1)


def test_one_colour_scale_for_all_and_none_where_the_sensor_is_blind(
    script: ModuleType, view: VideoFrame, result: DepthFrame
) -> None:
    reference = view.depth * 7  # of another scale
    reference[:90] = np.nan
    reference[390:] = 0
    first, coarse, refined, sensor = panels(
        script.picture_row(script.Crop("simulated", "0", (0, 0)), view.image, result, reference)
    )
    assert (first == (255, 0, 0)).all(-1).any() and not (view.image == (255, 0, 0)).all(-1).any(), "the outline"
    assert (sensor[:50] == UNKNOWN_RGB).all() and (sensor[240:] == UNKNOWN_RGB).all()
    for panel in (coarse, refined):
        for y, x in ((144, 192), (144, 30)):  # in the box, on the wall
            np.testing.assert_allclose(panel[y, x].astype(int), sensor[y, x], atol=24)


def test_a_photograph_is_shown_twice(script: ModuleType, view: VideoFrame, result: DepthFrame) -> None:
    first, _, _, last = panels(script.picture_row(script.Crop("compact", "x", (320, 240), 0.5), view.image, result, None))
    assert not (first == last).all()
    np.testing.assert_array_equal(last, cv2.resize(view.image[240:480, 320:640], (384, 288), interpolation=cv2.INTER_AREA))


def test_a_real_picture_needs_all_of_its_sources(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["make_pictures.py", "--out", str(tmp_path), "--bag", "b"])
    assert script.main() == 2
    assert capsys.readouterr().err == "error: real.jpg takes --bag, --photos and --meter: give all three, or none\n"


def test_the_film_as_pairs_is_what_evaluate_reads(script: ModuleType, view: VideoFrame, tmp_path: Path) -> None:
    script.write_pairs(tmp_path, [view, view], seed=3)
    pairs = find_pairs(tmp_path / "frames")
    assert len(pairs) == 2
    for pair in pairs:
        sample = read_pair(pair)
        np.testing.assert_array_equal(sample.frame.image, view.image)
        np.testing.assert_array_equal(sample.depth, view.depth)
        stored = read_stored(stored_path(tmp_path / "simulated", pair.name), torch.device("cpu"))
        assert stored.has_features and stored.claim.kind != "metric"


def test_every_crop_lies_in_its_picture(script: ModuleType) -> None:
    bundled = film.Film()
    assert all(int(crop.source) < len(bundled) for crop in script.ROOM)
    whole = (bundled.camera.width, bundled.camera.height)
    for crop, size in (*((crop, whole) for crop in script.ROOM), *((crop, (1280, 720)) for crop in script.TABLETOPS)):
        ends = [at + length * crop.scale for at, length in zip(crop.corner, script.CROP, strict=True)]
        assert all(end <= side for end, side in zip(ends, size, strict=True))


@pytest.mark.parametrize("name", ["edges.jpg", "real.jpg"])
def test_the_pictures_are_small_and_their_sources_named(name: str) -> None:
    folder = ROOT / "docs" / "images"
    assert (folder / name).stat().st_size <= LARGEST_BYTES
    assert f"`{name}`" in (folder / "SOURCES.md").read_text(encoding="utf-8")
