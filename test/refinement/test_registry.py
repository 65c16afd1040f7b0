"""Refiners by name and by checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.checkpoints import bundled, load_tensors, save_tensors
from depth_retrofit_ros.refinement.kinds import KIND
from depth_retrofit_ros.refinement.registry import REFINERS, load_refiner, resolved
from depth_retrofit_ros.retrofit import load

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", REFINERS)
def test_each_is_loaded_by_its_name_and_says_what_the_registry_says(name: str) -> None:
    refiner = load_refiner(name, CPU)
    assert (refiner.name, refiner.needs) == (name, REFINERS[name].needs)
    assert refiner.backend_name


def test_the_sparse_one_is_taken_where_none_is_named() -> None:
    assert resolved(None) == resolved("sparse") == ("sparse", bundled("refiner.safetensors"))


@pytest.mark.parametrize("name", [name for name, info in REFINERS.items() if info.file])
def test_a_checkpoint_tells_of_which_refiner_it_is(tmp_path: Path, name: str) -> None:
    tensors, metadata = load_tensors(bundled(REFINERS[name].file))
    save_tensors(tmp_path / "mine.safetensors", tensors, metadata)
    assert resolved(tmp_path / "mine.safetensors") == (name, tmp_path / "mine.safetensors")
    assert load_refiner(str(tmp_path / "mine.safetensors"), CPU).name == name


def test_a_file_of_a_refiner_s_name_is_given_by_a_path_with_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tensors(tmp_path / "none", *load_tensors(bundled("refiner.safetensors")))
    assert resolved("none") == ("none", None)
    assert resolved("./none")[0] == "sparse"


@pytest.mark.parametrize(
    ("given", "told"), [("sparze", "unknown refiner 'sparze': did you mean 'sparse'"), ("xyz", "choose one of")]
)
def test_an_unknown_name_is_told_with_those_that_are(given: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        load_refiner(given, CPU)


def test_a_path_that_is_not_there_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        load_refiner(tmp_path / "absent.safetensors", CPU)


@pytest.mark.parametrize("kind", ["fast", "none"])
def test_a_checkpoint_of_a_refiner_that_is_not_known_is_refused(tmp_path: Path, kind: str) -> None:
    save_tensors(tmp_path / "of.safetensors", {"a": torch.zeros(1)}, {KIND: kind})
    with pytest.raises(WeightsError, match=f"refiner '{kind}', which this version does not know"):
        load_refiner(tmp_path / "of.safetensors", CPU)


def test_none_asks_for_no_pixel_and_leaves_the_upsampled_depth() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    result = load("compact", refiner="none", device="cpu", coarse_engine="eager")(Frame(image))
    assert result.refined_pixels == 0
    assert torch.equal(result.depth, result.base)
