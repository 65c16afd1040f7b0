"""Refiners by name and by checkpoint."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io import checkpoints
from depth_retrofit_ros.io.checkpoints import bundled, load_tensors, save_tensors
from depth_retrofit_ros.presets import load_preset
from depth_retrofit_ros.refinement.kinds import KIND, NETWORK
from depth_retrofit_ros.refinement.published import URGT_NAME
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


@pytest.mark.parametrize("name", [name for name in REFINERS if REFINERS[name].file])
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


@pytest.mark.parametrize("name", [name for name, info in REFINERS.items() if info.file])
def test_an_installation_without_a_checkpoint_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Told before a coarse model is looked for."""
    monkeypatch.setattr(checkpoints, "BUNDLED_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="reinstall depth_retrofit_ros"):
        resolved(name)
    for graphs in (False, True):
        with pytest.raises(WeightsError, match="reinstall depth_retrofit_ros"):
            load("meter-nyu", refiner=name, device="cpu", weights=tmp_path / "not looked for", cuda_graphs=graphs)
    assert resolved("none") == ("none", None)


@pytest.mark.parametrize("name", [name for name, info in REFINERS.items() if info.needs != "pixels"])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engine": "nonsense"}, "engine nonsense is of sparse convolutions, and refiner {name} has none"),
        ({"refiner_precision": "float99"}, "refiner {name} computes in float32, not in float99"),
        ({"cuda_graphs": True}, "cuda_graphs replays refiner sparse, not {name}: leave it off"),
    ],
)
def test_settings_of_others_are_refused_before_any_checkpoint_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any], told: str
) -> None:
    if file := REFINERS[name].file:
        save_tensors(tmp_path / file, {}, {})
        monkeypatch.setattr(checkpoints, "BUNDLED_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=f"^{told.format(name=name)}"):
        load("meter-nyu", refiner=name, device="cpu", weights=tmp_path / "absent", **settings)


def test_what_a_file_calls_itself_does_not_rule_the_terminal(tmp_path: Path) -> None:
    save_tensors(tmp_path / "of.safetensors", {"a": torch.zeros(1)}, {KIND: "\x1b[2J\nfast" + 1000 * "!"})
    with pytest.raises(WeightsError, match=r"refiner '\\x1b\[2J\\nfast!+', which") as caught:
        load_refiner(tmp_path / "of.safetensors", CPU)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 200 + len(str(tmp_path))


@pytest.mark.parametrize("kind", ["sparse", "paper", "prv2", "urgt", "sharp"])
def test_a_description_that_is_nested_without_end_is_no_checkpoint(tmp_path: Path, kind: str) -> None:
    save_tensors(tmp_path / "deep.safetensors", {"a": torch.zeros(1)}, {KIND: kind, NETWORK: 100_000 * "["})
    with pytest.raises(WeightsError, match=r"deep\.safetensors is not a"):
        load_refiner(tmp_path / "deep.safetensors", CPU)
    if kind == "paper":
        with pytest.raises(WeightsError, match=r"deep\.safetensors has no thresholds"):
            load_preset("paper", tmp_path / "deep.safetensors")


@pytest.mark.parametrize("kind", ["sparse", "paper"])
@pytest.mark.parametrize("shape", [{"widths": [1024] * 8, "blocks": 16}, {"widths": [1024] * 1000, "blocks": 1000}])
def test_a_few_bytes_get_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shape: dict[str, Any]) -> None:
    """The file has as many tensors as the network has blocks, and none of its weights: nothing is built but on the meta device."""
    tensors = {f"{i}": torch.zeros(1) for i in range(200)}
    save_tensors(tmp_path / "small.safetensors", tensors, {KIND: kind, NETWORK: json.dumps(shape)})
    built, plain = list[torch.device](), nn.Parameter.__new__

    def recorded(cls: type, data: Any = None, requires_grad: bool = True) -> Any:
        built.append(data.device)
        return plain(cls, data, requires_grad)

    monkeypatch.setattr(nn.Parameter, "__new__", recorded)
    with pytest.raises(WeightsError, match=r"small\.safetensors (is not a|was made for another network)"):
        load_refiner(tmp_path / "small.safetensors", CPU)
    assert {device.type for device in built} <= {"meta"} and len(built) < 10_000


def test_a_file_s_values_are_not_read_to_tell_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One as URGT's authors publish theirs, of gigabytes, is read once, by its loader."""
    torch.save({"model_state_dict": {f"vggt.{URGT_NAME}": torch.zeros(8)}}, tmp_path / "urgt.pth")
    save_tensors(tmp_path / "prv2.safetensors", {"a": torch.zeros(8)}, {KIND: "prv2"})

    def read(*given: object) -> None:
        raise AssertionError("values were read")

    monkeypatch.setattr(zipfile.ZipFile, "testzip", read)
    monkeypatch.setattr(checkpoints, "load_tensors", read)
    monkeypatch.setattr("depth_retrofit_ros.refinement.published.load_tensors", read)
    assert [resolved(tmp_path / name)[0] for name in ("urgt.pth", "prv2.safetensors")] == ["urgt", "prv2"]


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
