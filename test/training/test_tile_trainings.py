"""The trainings of refiners of tiles, on each device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.training.loop import Loop, LoopSpec
from depth_retrofit_ros.training.prv2 import train_prv2
from depth_retrofit_ros.training.urgt import train_urgt
from depth_retrofit_ros.training.windows import Window
from test.training.samples import write_samples
from test.training.test_windows import window

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def spec(tmp_path: Path, device: str) -> LoopSpec:
    return LoopSpec(4, 2, 1e-3, 0, tmp_path / "out", torch.device(device))


def check(loop: Loop, figures: dict[str, float], device: str) -> None:
    assert loop.done == 4 and next(loop.network.parameters()).device.type == device
    assert 0 < figures["val_left"] < 2 and all(value == value for value in figures.values())


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_prv2(tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.training.prv2.VALIDATION_BATCHES", 1)
    files = write_samples(tmp_path, 2)
    network = PatchRefinerV2({})
    network.side, network.overlap = 64, 40  # the samples' crops are small
    check(*train_prv2(files, files[:1], [], spec(tmp_path, device), network, 0.5), device)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_urgt(tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.training.urgt.VALIDATION_BATCHES", 1)
    monkeypatch.setattr("depth_retrofit_ros.training.urgt.GRIDMIX", (1, 2))
    files = write_samples(tmp_path, 2)
    network = Urgt()
    network.side, network.overlap = 64, 48
    check(*train_urgt(files, files[:1], [], spec(tmp_path, device), network), device)


@pytest.mark.cuda
def test_a_window_goes_to_a_device_as_a_whole() -> None:
    there: Window = window().to(torch.device("cuda"))
    maps = (there.image, there.depth, there.selected, there.target, there.truth, there.score, there.view.depth, there.view.features)
    assert {m.device.type for m in maps} == {"cuda"}
