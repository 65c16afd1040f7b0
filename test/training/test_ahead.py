"""Samples made ahead are the samples."""

from __future__ import annotations

import os
import resource
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.ahead import FILES, Ahead, raise_file_limit
from depth_retrofit_ros.training.coarse_views import model_view
from depth_retrofit_ros.training.crops import Crops
from depth_retrofit_ros.training.draws import remembered
from depth_retrofit_ros.training.frozen import FrozenModels
from test.training.samples import write_samples


def told(folder: Path, index: int) -> tuple[int, int]:
    """The index, and by which process; the third is refused."""
    (folder / str(index)).touch()
    if index == 3:
        raise DatasetError("not this one: take another")
    return index, os.getpid()


@pytest.mark.slow
def test_calls_come_in_order_from_other_processes_from_any_index_on(tmp_path: Path) -> None:
    made = Ahead(partial(told, tmp_path), workers=2)
    assert [made(index)[0] for index in (5, 6, 7)] == [5, 6, 7]
    numbers = [made(index) for index in (0, 1, 2)]  # begun again
    assert [index for index, _ in numbers] == [0, 1, 2] and os.getpid() not in {process for _, process in numbers}
    assert (tmp_path / "2").exists() and not (tmp_path / "30").exists()  # ahead, but not without end
    with pytest.raises(DatasetError, match=r"^not this one: take another$"):
        made(3)


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    assert Ahead(partial(told, tmp_path))(8) == (8, os.getpid()) and [p.name for p in tmp_path.iterdir()] == ["8"]


@pytest.mark.slow
def test_crops_are_the_same_with_workers_and_without(tmp_path: Path) -> None:
    files, models = write_samples(tmp_path, 2), FrozenModels(["compact"], None, "cpu")
    here, there = (Crops(files, models, 2, seed=1, simulated=0.5, echoed=True, workers=workers) for workers in (1, 2))
    for step in (0, 1, 5, 8):
        pairs = list(zip(here(step), there(step), strict=True))
        assert len(pairs) == 2
        for a, b in pairs:
            assert torch.equal(a.mask, b.mask) and torch.equal(a.features.rows, b.features.rows) and torch.equal(a.target, b.target)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((1024, 4096), 4096),
        ((1024, 1 << 20), FILES),
        ((1024, resource.RLIM_INFINITY), FILES),
        ((1 << 18, 1 << 20), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_limit_of_open_files_is_raised_and_never_lowered(
    limits: tuple[int, int], wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, given: set_to.append(given))
    raise_file_limit()
    assert set_to == ([] if wanted is None else [(wanted, limits[1])])


def test_answers_that_are_kept_are_shared_by_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three scenes' answers one process keeps all, each of two one."""
    files, models = write_samples(tmp_path, 3), FrozenModels(["compact"], None, "cpu")

    def kept(workers: int) -> int:
        draws = Crops(files, models, 1, seed=1, workers=workers)
        for path in files:
            with np.load(path) as file:
                draws._model_view(models[0], path, dict(file))
        return len(draws._views)

    with np.load(files[0]) as file:
        size = model_view(models[0], dict(file)).bytes
    monkeypatch.setattr("depth_retrofit_ros.training.draws.KEPT_BYTES", int(3.5 * size))
    assert (kept(1), kept(2)) == (3, 1)


def test_validation_samples_are_made_once(tmp_path: Path) -> None:
    draws = Crops(write_samples(tmp_path, 1), [], 1, seed=1)
    crops = remembered(draws, 2)
    assert crops(0)[0] is crops(0)[0] and torch.equal(crops(1)[0].target, draws(1)[0].target)
    with pytest.raises(IndexError):
        crops(2)
