"""What a preset is made of, what goes together, and the paper's settings through the whole method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.stored import read_stored
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io import checkpoints
from depth_retrofit_ros.io.checkpoints import bundled, load_tensors, save_tensors
from depth_retrofit_ros.preset_names import PRESETS
from depth_retrofit_ros.presets import DEFAULT, USUAL, Preset, load_preset
from depth_retrofit_ros.refinement.kinds import KIND
from depth_retrofit_ros.refinement.registry import REFINERS
from depth_retrofit_ros.retrofit import Retrofit, load
from depth_retrofit_ros.selection.threshold import CAP
from depth_retrofit_ros.selection.uncertainty import entropy_share
from depth_retrofit_ros.upsampling.interpolation import nearest
from test.refinement.nets import random_refiner, two_planes
from test.refinement.paper.nets import paper_checkpoint, random_paper_refiner
from test.test_retrofit import ToldCoarse

SIZE = (90, 120)
CPU: dict[str, Any] = {"device": "cpu", "coarse_engine": "eager", "engine": "torch", "refiner_precision": "float32"}


@pytest.fixture
def frame() -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return paper_checkpoint(tmp_path / "paper.safetensors", compact=0.9)


def run(frame: Frame, alpha: float, budget: float = 0.1, factor: float = 1.0) -> DepthFrame:
    planes = two_planes()
    coarse = ToldCoarse(replace(planes, depth=factor * planes.depth))
    return Retrofit(coarse, random_paper_refiner(), budget, parts=Preset("paper", alpha=alpha).parts(coarse))(frame)


def test_the_paper_s_parts_make_the_answer(frame: Frame) -> None:
    planes = two_planes()
    entropy = entropy_share(planes.features, (18, 24))
    alpha = float(entropy.flatten().quantile(0.8))
    result = run(frame, alpha)
    assert torch.equal(result.base, nearest(planes.depth, SIZE))
    assert torch.equal(result.selection.mask(), nearest(entropy, SIZE) > alpha)
    assert result.refined_pixels == result.gate.numel() == result.selection.count > 0.15 * SIZE[0] * SIZE[1]
    changed = result.depth != result.base
    assert bool((changed <= result.selection.mask()).all()) and float(changed.sum()) > 0.9 * result.refined_pixels


def test_the_bound_is_told_and_holds(frame: Frame) -> None:
    result = run(frame, 0.01, budget=0.02)
    assert result.refined_pixels <= CAP * 0.02 * SIZE[0] * SIZE[1]
    assert result.refined_pixels + result.selection.left_out == SIZE[0] * SIZE[1]
    assert run(frame, 0.01, budget=0.0).refined_pixels == 0


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaling_the_coarse_depth_scales_the_output(frame: Frame, factor: float) -> None:
    plain, scaled = run(frame, 0.5), run(frame, 0.5, factor=factor)
    torch.testing.assert_close(scaled.depth, factor * plain.depth, rtol=1e-4, atol=0)


def test_the_default_is_what_it_was(frame: Frame) -> None:
    assert load_preset() == DEFAULT and DEFAULT.parts(ToldCoarse()) is USUAL
    assert Retrofit(ToldCoarse(), random_refiner()).parts is USUAL
    assert DEFAULT.refiner == "sparse" and next(iter(PRESETS)) == "default"


@pytest.mark.parametrize("refiner", [None, "auto", ""])
def test_each_preset_brings_its_own_refiner_unless_another_is_named(refiner: str | None) -> None:
    assert load_preset("default", refiner).refiner == "sparse"
    assert load_preset("paper", refiner, 0.5).refiner == "paper"
    assert load_preset("paper", "sparse", 0.5).refiner == "sparse"


def test_the_library_loads_it_and_the_refiner_that_is_named_wins(checkpoint: Path, frame: Frame) -> None:
    retrofit = load("compact", preset="paper", refiner=checkpoint, **CPU)
    assert retrofit.refiner.name == "paper" and retrofit.parts is not USUAL
    assert retrofit(frame).selection.mask().sum() == retrofit(frame).refined_pixels
    mixed = load("compact", preset="paper", refiner="sparse", entropy_threshold=0.9, **CPU)
    assert mixed.refiner.name == "sparse" and torch.equal(mixed(frame).base, retrofit(frame).base)
    paper_alone = load("compact", refiner=checkpoint, **CPU)
    assert paper_alone.refiner.name == "paper" and paper_alone.parts is USUAL
    assert paper_alone(frame).refined_pixels == round(0.1 * SIZE[0] * SIZE[1])


def test_the_thresholds_are_those_of_the_checkpoint_that_refines(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper_checkpoint(checkpoint.with_name(REFINERS["paper"].file), compact=0.3)
    save_tensors(checkpoint.with_name(REFINERS["sparse"].file), *load_tensors(bundled(REFINERS["sparse"].file)))
    monkeypatch.setattr(checkpoints, "BUNDLED_FOLDER", checkpoint.parent)
    assert load_preset("paper", checkpoint).thresholds["compact"].at(0.1) == pytest.approx(0.9)
    assert load_preset("paper", "sparse").thresholds["compact"].at(0.1) == pytest.approx(0.3)


@pytest.mark.parametrize("settings", [{}, {"refiner": "sparse"}, {"entropy_threshold": 0.5}])
def test_without_its_checkpoint_the_preset_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Whatever of the checkpoint is wanted, thresholds or refiner."""
    save_tensors(tmp_path / REFINERS["sparse"].file, *load_tensors(bundled(REFINERS["sparse"].file)))
    monkeypatch.setattr(checkpoints, "BUNDLED_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match=r"refiner_paper\.safetensors.*reinstall depth_retrofit_ros"):
        load("meter-nyu", preset="paper", **settings, **CPU)


def test_auto_passes_over_models_without_a_threshold(checkpoint: Path) -> None:
    preset = load_preset("paper", checkpoint)
    assert preset.refusal(SimpleNamespace(name="compact")) is None
    assert preset.refusal(SimpleNamespace(name="meter-nyu")) is not None
    assert load("auto", preset="paper", refiner=checkpoint, **CPU).coarse.name == "compact"


def test_what_does_not_go_together(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown preset 'papre': choose one of default, paper"):
        load("compact", preset="papre")
    with pytest.raises(ModelError, match="entropy_threshold is of preset paper: leave it out, or choose that"):
        load("compact", entropy_threshold=0.3)
    with pytest.raises(ModelError, match=r"entropy_threshold 1\.5 is outside 0 to below 1"):
        load("compact", preset="paper", entropy_threshold=1.5)
    with pytest.raises(ModelError, match="cuda_graphs replays a fixed number of pixels, which preset paper has not"):
        load("compact", preset="paper", refiner=checkpoint, cuda_graphs=True)
    with pytest.raises(ModelError, match="calibrated for compact, not for meter-nyu: choose one of these, or"):
        load("meter-nyu", preset="paper", refiner=checkpoint, device="cpu")
    bare = paper_checkpoint(checkpoint.with_name("bare.safetensors"))
    save_tensors(bare, load_tensors(bare)[0], {KIND: "paper"})
    with pytest.raises(WeightsError, match=r"bare\.safetensors has no thresholds to select by"):
        load_preset("paper", bare)
    np.savez(tmp_path / "map.npz", depth=np.ones((6, 8), np.float32))
    stored = read_stored(tmp_path / "map.npz", torch.device("cpu"))
    with pytest.raises(ModelError, match="the map's file has none: use preset default"):
        load_preset("paper", checkpoint).parts(stored)


def test_the_registry_has_each_preset_s_refiner() -> None:
    assert {preset.refiner for preset in PRESETS.values()} <= set(REFINERS)
