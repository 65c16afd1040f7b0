"""Samples on disk: what they hold, that crop and coarse view show the same world, and that none is rendered twice."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.cli.train import KINDS
from depth_retrofit_ros.training import pool
from depth_retrofit_ros.training.pool import CROP, FORMAT, PoolSpec, build_pool, crop_windows, render_sample
from depth_retrofit_ros.training.scenes import primitives
from depth_retrofit_ros.training.scenes.textures import build_textures

RATIO = 5  # a coarse pixel of a 1280 x 720 frame is exactly 5 x 5 fine ones


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Few textures, and one frame size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primitives, "build_textures", lambda seed, photos=None: build_textures(seed, count=5, photos=photos))
        patch.setattr(pool, "_worlds", {})
        patch.setattr(pool, "FRAMES", ((1280, 720),))
        yield


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    """One sample with two crops."""
    return render_sample(PoolSpec(Path(), 1, crops=2, seed=7), 0)


def read(path: Path) -> dict[str, np.ndarray]:
    """A stored sample."""
    with np.load(path) as file:
        return dict(file)


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    """Every array, bit for bit."""
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_what_a_sample_holds(sample: dict[str, np.ndarray]) -> None:
    sample = dict(sample)
    assert str(sample.pop("kind")) in KINDS
    shapes = {name: (value.shape, value.dtype.name) for name, value in sample.items()}
    assert shapes == {
        "view": ((432, 768, 3), "uint8"),
        "view_depth": ((432, 768), "float32"),
        "frame": ((2,), "int64"),
        "f_px": ((), "float64"),
        "at": ((2, 2), "int64"),
        "crops": ((2, CROP, CROP, 3), "uint8"),
        "crop_depth": ((2, CROP, CROP), "float32"),
    }
    assert sample["frame"].tolist() == [1280, 720]
    hfov = np.degrees(2 * np.arctan(640 / sample["f_px"]))
    assert 38 <= hfov <= 100
    for depth in (sample["view_depth"], sample["crop_depth"]):
        assert not np.isnan(depth).any() and depth.min() > 0


def test_crop_and_view_show_the_same_depth_at_the_same_place(sample: dict[str, np.ndarray]) -> None:
    """The centre of the view's pixel (3j + 1, 3i + 1) is the centre of fine pixel (5j + 2, 5i + 2)."""
    for (x0, y0), depth in zip(sample["at"], sample["crop_depth"], strict=True):
        assert 0 <= x0 <= 1280 - CROP and 0 <= y0 <= 720 - CROP
        rows = np.arange(-(-(y0 - 2) // RATIO), (y0 + CROP - 3) // RATIO + 1)
        columns = np.arange(-(-(x0 - 2) // RATIO), (x0 + CROP - 3) // RATIO + 1)
        fine = depth[np.ix_(RATIO * rows + 2 - y0, RATIO * columns + 2 - x0)]
        coarse = sample["view_depth"][1::3, 1::3][np.ix_(rows, columns)]
        assert fine.size > 5000
        assert np.isclose(fine, coarse, rtol=1e-4).mean() > 0.998
        assert np.isclose(fine[:, 1:], coarse[:, :-1], rtol=1e-4).mean() < 0.9  # one coarse pixel off is seen


def test_crop_and_view_look_alike(sample: dict[str, np.ndarray]) -> None:
    """The same exposure and sensor: brightness of a crop, averaged to blocks of 5 x 5, follows the view's blocks of 3 x 3."""
    blocks = sample["view"].astype(float).reshape(144, 3, 256, 3, 3).mean((1, 3, 4))
    for (x0, y0), image in zip(sample["at"], sample["crops"], strict=True):
        top, left = -(-y0 // RATIO), -(-x0 // RATIO)
        n = 75
        part = image[RATIO * top - y0 :, RATIO * left - x0 :][: n * RATIO, : n * RATIO].astype(float)
        averaged = part.reshape(n, RATIO, n, RATIO, 3).mean((1, 3, 4))
        low = blocks[top : top + n, left : left + n]
        assert np.abs(averaged - low).mean() < 8
        assert np.corrcoef(averaged.ravel(), low.ravel())[0, 1] > 0.95


def test_same_seed_and_index_same_sample(sample: dict[str, np.ndarray]) -> None:
    assert_same(render_sample(PoolSpec(Path("elsewhere"), 9, crops=2, seed=7), 0), sample)
    other = render_sample(PoolSpec(Path(), 1, crops=0, seed=7), 1)
    assert "crops" not in other and not np.array_equal(other["view"], sample["view"])


def test_files_are_rendered_once(tmp_path: Path) -> None:
    spec, told = PoolSpec(tmp_path / "pool", 2, crops=0, seed=7), list[int]()
    threads = torch.get_num_threads()
    files = build_pool(spec, 1, told.append)
    assert torch.get_num_threads() == threads  # the training that follows needs them all
    assert files == [spec.path(0), spec.path(1)] and told == [2]
    assert sorted(p.name for p in spec.folder.iterdir()) == [f"0007_{i:06d}_0_v{FORMAT}.npz" for i in range(2)]
    first = [read(f) for f in files]
    times = [f.stat().st_mtime_ns for f in files]
    files[1].unlink()
    again = build_pool(PoolSpec(tmp_path / "pool", 3, crops=0, seed=7), 1, told.append)
    assert told == [2, 3]
    assert files[0].stat().st_mtime_ns == times[0] and files[1].stat().st_mtime_ns > times[1]
    assert_same(read(again[0]), first[0])
    assert_same(read(again[1]), first[1])


@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="other start methods do not inherit this test's small pool"
)
def test_several_processes_make_the_same_files(tmp_path: Path) -> None:
    told = list[int]()
    spec = PoolSpec(tmp_path, 1, crops=0, seed=7)
    (file,) = build_pool(spec, 2, told.append)
    assert told == [1]
    assert_same(read(file), render_sample(spec, 0))


def test_crops_lie_inside_and_mostly_at_edges() -> None:
    depth = np.full((144, 256), 5.0, np.float32)
    depth[40:60, 200:220] = 2.0
    windows = crop_windows(np.random.default_rng(0), depth, (1280, 720), 300)
    assert all(0 <= x <= 1280 - CROP and 0 <= y <= 720 - CROP for x, y in windows)
    at_edge = [x < 1100 and x + CROP > 1000 and y < 300 and y + CROP > 200 for x, y in windows]
    assert 0.7 < np.mean(at_edge) < 0.95
    flat = crop_windows(np.random.default_rng(0), np.full((144, 256), 5.0, np.float32), (1280, 720), 20)
    assert len(set(flat)) > 15
