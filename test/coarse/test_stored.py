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
    path = write(tmp_path / "a.b.npz", depth=depth.astype(np.float64), features=features, metric=True)
    assert path == stored_path(tmp_path, "a.b")
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
    live = StoredCoarse(CoarsePrediction(torch.from_numpy(depth), torch.from_numpy(features)), True, stored_claim(metric=True))
    frame = Frame(np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8), camera=Camera.from_hfov(60, 40, 70))
    a, b = (Retrofit(coarse, random_refiner(), 0.2)(frame) for coarse in (stored, live))
    assert a.scale_source == "file" and a.refined_pixels == 480 and torch.equal(a.depth, b.depth)
    assert not torch.equal(a.depth, a.base)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": np.ones((4, 4), np.float32)}, "give --coarse-kind depth, metric, normalized, disparity or inverted-disparity"),
        ({"one": np.ones((4, 4)), "two": np.ones((4, 4))}, "has no 'depth'"),
        ({"depth": np.ones((3, 4, 4), np.float32)}, "2 dimensions"),
        ({"depth": np.ones((0, 4), np.float32)}, "not empty"),
        ({"depth": np.ones((1, 1), np.float32)}, "one value"),
        ({"depth": np.zeros((4, 4), np.float32)}, "nothing in it is known"),
        ({"depth": np.full((4, 4), np.inf, np.float32)}, "nothing in it is known"),
        ({"depth": np.full((4, 4), -1, np.float32)}, "below 0"),
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


def test_a_map_larger_than_its_image_is_averaged_to_it_and_that_is_told(tmp_path: Path) -> None:
    stored = read_stored(write(tmp_path / "a.npz", depth=np.full((8, 12), 3, np.float32)), CPU)
    depth = stored.predict(torch.zeros(6, 9, 3, dtype=torch.uint8), None).depth
    assert depth.shape == (6, 9) and torch.allclose(depth, torch.tensor(3.0))
    assert any("12x8 and is refined at 9x6" in remark for remark in stored.remarks)


def test_a_turned_map_is_refused(tmp_path: Path) -> None:
    stored = read_stored(write(tmp_path / "a.npz", depth=depth_map().T), CPU)
    with pytest.raises(DatasetError, match="turn it as the image is shown"):
        stored.predict(IMAGE, None)


def test_a_map_of_another_aspect_is_stretched_and_that_is_told(tmp_path: Path) -> None:
    stored = read_stored(write(tmp_path / "a.npz", depth=np.full((10, 10), 3, np.float32)), CPU)
    assert stored.predict(IMAGE, None).depth.shape == (10, 10)
    assert any("stretched" in remark for remark in stored.remarks)
    assert len(stored.remarks) == 1 and stored.predict(IMAGE, None) is stored.predict(IMAGE, None)


def test_the_first_kind_of_file_that_is_there_is_taken(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.npz is missing, and so is a\.npy, \.pfm, \.png"):
        stored_path(tmp_path, "a")
    for suffix in (".png", ".pfm", ".npy", ".npz"):
        (tmp_path / f"a{suffix}").touch()
        assert stored_path(tmp_path, "a") == tmp_path / f"a{suffix}"


def test_the_user_s_word_on_the_kind_goes_before_the_file_s(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", depth=depth_map())
    assert read_stored(path, CPU, "metric").claim == stored_claim(metric=True)
    assert read_stored(path, CPU, "depth").claim.kind == "up-to-scale"
    near, far = (read_stored(path, CPU, kind).prediction.depth.flatten() for kind in ("depth", "disparity"))
    assert torch.equal(near.argsort(), far.argsort(descending=True))
    assert read_stored(write(tmp_path / "b.npz", disparity=depth_map()), CPU).claim.inverse


def test_holes_stay_holes_and_spoil_nothing_around_them(tmp_path: Path) -> None:
    depth = np.full((30, 40), 4, np.float32)
    depth[10:20, 10:25] = 1.5
    holes = depth.copy()
    holes[3:7, 5:9], holes[12:15, 23:28], holes[25, 30] = np.nan, 0.0, np.nan
    frame = Frame(np.random.default_rng(2).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    whole, holed = (
        Retrofit(read_stored(write(tmp_path / "a.npz", depth=d), CPU), random_refiner(), 0.2)(frame) for d in (depth, holes)
    )
    unknown = torch.from_numpy(np.kron(~(holes > 0), np.ones((4, 4), bool)))
    for answer in (holed.depth, holed.base):
        assert torch.equal(answer.isnan(), unknown)
    assert torch.equal(holed.coarse.isnan(), torch.from_numpy(~(holes > 0))) and whole.depth.isfinite().all()


def test_sky_is_as_far_as_the_method_s_limit(tmp_path: Path) -> None:
    depth = depth_map()
    depth[:2] = np.inf
    stored = read_stored(write(tmp_path / "a.npz", depth=depth), CPU)
    prediction = stored.predict(IMAGE, None)
    assert prediction.sky is not None and prediction.sky[:2].all() and not prediction.sky[2:].any()
    result = Retrofit(stored, random_refiner(), 0.2)(Frame(IMAGE.numpy()))
    assert result.depth.isfinite().all() and result.coarse[:2].min() > 2 * depth[2:].max()


@pytest.mark.parametrize("shape", [(1, 40), (30, 1), (2, 3)])
def test_maps_of_one_row_or_hardly_more(tmp_path: Path, shape: tuple[int, int]) -> None:
    height, width = (60, 80) if shape[1] > 1 else (80, 60)
    depth = np.random.default_rng(0).uniform(1, 5, shape).astype(np.float32)
    frame = Frame(np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8))
    result = Retrofit(read_stored(write(tmp_path / "a.npz", depth=depth), CPU), random_refiner(), 0.2)(frame)
    assert result.depth.isfinite().all()


def test_an_8_bit_ramp_becomes_no_staircase(tmp_path: Path) -> None:
    ramp = np.linspace(10, 60, 400)[:, None] * np.ones((1, 300))
    fine, steps = (
        Retrofit(_disparity(tmp_path, v), random_refiner(), 0.0)(Frame(np.zeros((1200, 900, 3), np.uint8)))
        for v in (ramp, np.rint(ramp))
    )
    error = (steps.depth.log() - fine.depth.log()).abs()
    raw = np.abs(np.log(np.rint(ramp)) - np.log(ramp))
    assert error.mean() < 0.6 * raw.mean()


def _disparity(folder: Path, values: np.ndarray) -> StoredCoarse:
    np.save(folder / "a.npy", values.astype(np.float32))
    return read_stored(folder / "a.npy", CPU, "disparity")
