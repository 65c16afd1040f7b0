"""Samples on disk: what they hold, that crop and coarse view show the same world, and that none is rendered twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.cli.train_pools import KINDS
from depth_retrofit_ros.training import pool
from depth_retrofit_ros.training.group import Group
from depth_retrofit_ros.training.pool import (
    CROP,
    FORMAT,
    PoolSpec,
    build_pool,
    crop_windows,
    render_sample,
    thin_things,
    varied_camera,
)
from depth_retrofit_ros.training.scenes import primitives
from depth_retrofit_ros.training.scenes.lens import Lens
from depth_retrofit_ros.training.scenes.render import Rendering
from depth_retrofit_ros.training.scenes.textures import build_textures
from depth_retrofit_ros.training.scenes.thin import world as thin_world
from test.waiting import PATIENCE_S

RATIO = 5  # a coarse pixel of a 1280 x 720 frame is exactly 5 x 5 fine ones


SMALL = ((1280, 720),)
RENDER_CHUNK = pool._render_chunk


@contextmanager
def small() -> Iterator[None]:
    """Few textures, and one frame size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primitives, "build_textures", lambda seed, photos=None: build_textures(seed, count=5, photos=photos))
        patch.setattr(pool, "_worlds", {})
        patch.setattr(pool, "FRAMES", SMALL)
        yield


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """In this process."""
    with small():
        yield


def render_small_chunk(spec: PoolSpec, indices: list[int]) -> int:
    """In another process, which has taken over nothing of this one."""
    assert len(pool.FRAMES) > len(SMALL), "a fork has what this test's process has changed, and its sockets and locks"
    with small():
        return RENDER_CHUNK(spec, indices)


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


@pytest.mark.slow
def test_several_processes_make_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them a fork of one that has joined a group."""
    monkeypatch.setattr(pool, "_render_chunk", render_small_chunk)
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


def test_the_names_of_samples_tell_their_world(tmp_path: Path) -> None:
    plain = PoolSpec(tmp_path, 1, crops=2, seed=7)
    assert plain.path(3).name == f"0007_000003_2_v{FORMAT}.npz"
    assert replace(plain, assets=tmp_path).path(3) == plain.path(3)  # which primitives do not use
    thin = replace(plain, world="thin")
    names = {
        spec.path(3).name
        for spec in (thin, replace(thin, held_out=True), replace(thin, assets=tmp_path), replace(thin, photos=tmp_path))
    }
    assert len(names) == 4 and all(name.startswith("0007_thin") for name in names)


@pytest.fixture(scope="module")
def thin_sample() -> dict[str, np.ndarray]:
    """Of the world of thin things, blurred and shaken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thin_world, "TEXTURES", 6)
        patch.setattr(pool, "varied_camera", lambda rng: Camera.from_hfov(1280, 720, 60))
        shaken = Lens(2.0, 2.0, np.stack([np.linspace(-3, 3, 13), np.zeros(13)], 1), 0.2)
        patch.setattr(Lens, "random", classmethod(lambda cls, rng, depth, long_side: shaken))
        return render_sample(PoolSpec(Path(), 1, crops=4, seed=8, world="thin"), 1)


def test_a_sample_of_another_world_holds_the_same(sample: dict[str, np.ndarray], thin_sample: dict[str, np.ndarray]) -> None:
    assert thin_sample.keys() == sample.keys() and str(thin_sample["kind"]) == "thin"
    for name in ("view", "view_depth", "frame", "f_px", "at", "crops", "crop_depth"):
        assert thin_sample[name].dtype == sample[name].dtype and thin_sample[name].shape[1:] == sample[name].shape[1:], name
    test_crop_and_view_show_the_same_depth_at_the_same_place(thin_sample)


def test_a_crop_is_rendered_with_the_margin_that_its_blur_needs() -> None:
    """Its borders are those of a larger crop."""

    class Ramp:
        kind = "ramp"

        def render(self, camera: Camera, window: tuple[int, int, int, int] | None = None) -> Rendering:
            x0, y0, width, height = window or (0, 0, camera.width, camera.height)
            assert x0 >= 0 and y0 >= 0 and x0 + width <= camera.width and y0 + height <= camera.height
            x = torch.arange(x0, x0 + width).float()
            image = (x / camera.width).expand(3, height, width).permute(1, 2, 0)
            return Rendering(image, (1 + x).expand(height, width))

    camera = Camera.from_hfov(1280, 720, 60)
    lens = Lens(shake=np.array([[-4.0, 0], [4.0, 0]]))
    image, depth = pool._crop(Ramp(), camera, (300, 200), lens)
    expected = ((np.arange(300, 300 + CROP) + [[-4], [4]]) / 1280) ** 2.2
    np.testing.assert_allclose(image[5, :, 0], expected.mean(0) ** (1 / 2.2), atol=1e-5)
    np.testing.assert_array_equal(depth[7], 301 + np.arange(CROP))
    for corner in ((0, 0), (1280 - CROP, 720 - CROP)):
        assert pool._crop(Ramp(), camera, corner, lens)[0].shape == (CROP, CROP, 3)


def test_thin_things_are_what_a_closing_takes_away() -> None:
    depth = np.full((60, 80), 5.0, np.float32)
    depth[:, 20:23], depth[:, 50:70] = 2.0, 2.0
    depth[30:] = np.where(depth[30:] == 5, np.inf, depth[30:])
    thin = thin_things(depth)
    assert thin[:, 20:23].all() and not thin[:, 25:].any() and not thin[:, :20].any()


def test_half_of_the_crops_are_on_thin_things_where_asked_for() -> None:
    depth = np.full((144, 256), 5.0, np.float32)
    depth[:, 130:] = 3.0  # an edge
    depth[10:14, 20:100] = 2.0  # and a thin thing elsewhere
    windows = crop_windows(np.random.default_rng(0), depth, (2560, 1440), 300, thin=0.5)
    on_thin = [x < 1000 and x + CROP > 200 and y < 140 for x, y in windows]
    assert 0.45 < np.mean(on_thin) < 0.85  # it has edges of its own, too
    assert np.mean([x <= 1300 <= x + CROP for x, _ in windows]) > 0.1


def test_varied_cameras_are_of_every_kind() -> None:
    cameras = [varied_camera(np.random.default_rng(s)) for s in range(400)]
    sides = {(c.width > c.height, round(max(c.width, c.height) / min(c.width, c.height), 2)) for c in cameras}
    assert {(True, 1.78), (True, 1.33), (False, 1.33), (False, 1.78)} <= sides
    fov = np.array([2 * np.degrees(np.arctan(max(c.width, c.height) / 2 / c.fx)) for c in cameras])
    assert fov.min() < 25 and fov.max() > 100 and 0.65 < ((fov > 45) & (fov < 85)).mean() < 0.85


@pytest.mark.parametrize("shared", [True, False], ids=["one folder", "a folder each"])
def test_processes_together_render_each_scene_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """On machines that share a folder a part each; on others what they lack besides."""
    made: list[Path] = []
    barrier = threading.Barrier(2)

    class InThread(Group):
        def wait(self) -> None:
            barrier.wait(PATIENCE_S)

    def write(spec: PoolSpec, missing: list[int], workers: int, progress: Callable[[int], None]) -> None:
        for index in missing:
            assert not spec.path(index).exists()
            spec.path(index).touch()
            made.append(spec.path(index))

    monkeypatch.setattr(pool, "_render", write)
    folders = [tmp_path / ("pool" if shared else str(rank)) for rank in range(2)]
    specs = [PoolSpec(folder, 7, crops=2, seed=7) for folder in folders]
    specs[0].folder.mkdir()
    specs[0].path(3).touch()
    with ThreadPoolExecutor(2) as executor:
        groups = [InThread(rank, 2, rank if shared else 0, 2 if shared else 1) for rank in range(2)]
        files = list(executor.map(lambda spec, group: build_pool(spec, 1, lambda done: None, group), specs, groups))
    assert [[path.exists() for path in paths] for paths in files] == [[True] * 7] * 2
    assert len(made) == len(set(made)) == (6 if shared else 13)
