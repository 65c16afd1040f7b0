"""Coarse maps from files: what is read, what is refused, and what becomes of a file without features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import stored_claim
from depth_retrofit_ros.coarse.stored import StoredCoarse, read_stored, stored_path
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.selection.uncertainty import doubt
from test.refinement.nets import random_refiner

CPU = torch.device("cpu")
IMAGE = torch.zeros(40, 60, 3, dtype=torch.uint8)


def write(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def depth_map(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 5, (8, 12)).astype(np.float32)


def test_reads_depth_features_and_what_they_claim(tmp_path: Path) -> None:
    depth, features = depth_map(), np.random.default_rng(1).normal(size=(4, 5, 7)).astype(np.float16)
    path = write(stored_path(tmp_path, "a.b"), depth=depth.astype(np.float64), features=features, metric=True)
    assert path == tmp_path / "a.b.npz"
    stored = read_stored(path, CPU)
    prediction = stored.predict(IMAGE, None)
    assert stored.claim == stored_claim(metric=True) and stored.has_features
    assert prediction.depth.dtype == prediction.features.dtype == torch.float32
    assert np.array_equal(prediction.depth.numpy(), depth) and np.array_equal(prediction.features.numpy(), features)


def test_depth_is_not_taken_for_metres_unless_the_file_says_so(tmp_path: Path) -> None:
    assert read_stored(write(tmp_path / "a.npz", depth=depth_map()), CPU).claim == stored_claim(metric=False)
    assert read_stored(write(tmp_path / "b.npz", depth=depth_map(), metric=False), CPU).claim == stored_claim(metric=False)


def test_without_features_the_selection_is_by_edges_alone(tmp_path: Path) -> None:
    stored = read_stored(write(tmp_path / "a.npz", depth=depth_map()), CPU)
    assert not stored.has_features
    edges = doubt(stored.prediction, "edges")
    both = doubt(stored.prediction)
    assert torch.allclose(both / both.amax(), edges / edges.amax(), rtol=1e-5)


def test_a_stored_map_goes_through_the_same_method_as_a_live_one(tmp_path: Path) -> None:
    depth, features = depth_map(), np.random.default_rng(1).normal(size=(6, 8, 12)).astype(np.float32)
    stored = read_stored(write(tmp_path / "a.npz", depth=depth, features=features, metric=True), CPU)
    live = StoredCoarse(CoarsePrediction(torch.from_numpy(depth), torch.from_numpy(features)), has_features=True, metric=True)
    frame = Frame(np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8), camera=Camera.from_hfov(60, 40, 70))
    a, b = (Retrofit(coarse, random_refiner(), 0.2)(frame) for coarse in (stored, live))
    assert a.scale_source == "file" and a.refined_pixels == 480 and torch.equal(a.depth, b.depth)
    assert not torch.equal(a.depth, a.base)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": np.ones((4, 4), np.float32)}, "has no 'depth'"),
        ({"depth": np.ones((4, 4), np.uint16)}, "uint16"),
        ({"depth": np.ones((1, 4, 4), np.float32)}, "2 dimensions"),
        ({"depth": np.ones((0, 4), np.float32)}, "non-empty"),
        ({"depth": np.zeros((4, 4), np.float32)}, "finite and above 0"),
        ({"depth": np.full((4, 4), np.inf, np.float32)}, "finite and above 0"),
        ({"depth": np.array([["a", {}]], object)}, "Python objects"),
        ({"depth": np.ones((4, 4), np.float32), "features": np.ones((4, 4), np.float32)}, "3 dimensions"),
        ({"depth": np.ones((4, 4), np.float32), "features": np.full((2, 4, 4), np.nan, np.float32)}, "features must be finite"),
        ({"depth": np.ones((4, 4), np.float32), "metric": "yes"}, "one number"),
    ],
)
def test_what_is_no_coarse_map_is_refused_in_one_line(tmp_path: Path, arrays: dict[str, object], words: str) -> None:
    path = write(tmp_path / "a.npz", **arrays)
    with pytest.raises(DatasetError, match=words) as error:
        read_stored(path, CPU)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_broken_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.npz", depth=depth_map())
    cut, text, single = tmp_path / "cut.npz", tmp_path / "text.npz", tmp_path / "single.npz"
    cut.write_bytes(whole.read_bytes()[:-60])
    text.write_text("depth")
    with single.open("wb") as file:
        np.save(file, depth_map())
    flipped = tmp_path / "flipped.npz"
    data = bytearray(whole.read_bytes())
    data[300] ^= 0xFF
    flipped.write_bytes(bytes(data))
    for path in (cut, text, single, flipped, tmp_path / "absent.npz", tmp_path):
        with pytest.raises(DatasetError) as error:
            read_stored(path, CPU)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_map_larger_than_its_image_is_refused(tmp_path: Path) -> None:
    stored = read_stored(write(tmp_path / "a.npz", depth=depth_map()), CPU)
    with pytest.raises(DatasetError, match="12x8, larger than its image"):
        stored.predict(torch.zeros(8, 11, 3, dtype=torch.uint8), None)
