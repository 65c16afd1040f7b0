"""What the node is told of a replay: paths whole, as its folder may be another, and names as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.registry import REFINERS
from depth_retrofit_ros.ros.replay.replay import Replay


def refiner_told(refiner: str) -> object:
    return Replay("title", "compact", None, refiner, 0.1, "cpu", "auto").parameters()["refiner"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both the folder and the user's own."""
    save_tensors(tmp_path / "mine.safetensors", {"a": torch.zeros(1)}, {})
    (tmp_path / "pipeline").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["", "auto", *REFINERS])
def test_a_name_is_told_as_it_is(name: str) -> None:
    assert refiner_told(name) == name


@pytest.mark.parametrize("path", ["mine.safetensors", "./mine.safetensors", "~/mine.safetensors", "./pipeline"])
def test_a_path_is_told_whole(home: Path, path: str) -> None:
    assert refiner_told(path) == str(home / Path(path).name)


def test_what_is_neither_is_told_before_the_node_starts(home: Path) -> None:
    with pytest.raises(ModelError, match="unknown refiner 'spars': did you mean 'sparse'"):
        refiner_told("spars")
    with pytest.raises(WeightsError, match=str(home / "absent")):
        refiner_told("~/absent.safetensors")


def test_the_models_weights_are_told_whole(home: Path) -> None:
    told = Replay("title", "compact", Path("~/mine.safetensors"), "auto", 0.1, "cpu", "auto").parameters()
    assert told["weights"] == str(home / "mine.safetensors")


def test_memory_over_time_is_told() -> None:
    told = [
        Replay("title", "compact", None, "auto", 0.1, "cpu", "auto", temporal=on).parameters()["temporal"] for on in (False, True)
    ]
    assert told == [False, True]
