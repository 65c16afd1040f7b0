"""A refiner is moved to the near by the shift and by nothing else, and is its own again afterwards; sets are measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from depth_retrofit_ros.refinement.pixels.features import PixelFeatures
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.paths import ROOT
from test.refinement.nets import random_refiner
from test.scripts import load_script
from test.training.samples import some_crops

script: Any = load_script(ROOT / "benchmarks" / "ablate_nearness.py")


def test_the_shift_goes_to_the_near_and_is_taken_back() -> None:
    refiner, (crop,) = random_refiner(), some_crops(1)
    network = refiner.network
    pyramid = refiner.backend.build_pyramid(PixelSet.from_mask(crop.mask), network.levels)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def mean_change(features: PixelFeatures = crop.features) -> float:
        with torch.no_grad():
            return float(network(features, pyramid).change.mean())

    plain = mean_change()
    with script.nearer(refiner, 0.0):
        assert mean_change() == plain
    changes = []
    for shift in (-0.5, 0.5, 1.0):
        with script.nearer(refiner, shift):
            changes.append(mean_change())
    assert changes[0] > plain > changes[1] > changes[2]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_failure_leaves_the_refiner_as_it_was() -> None:
    refiner = random_refiner()
    before = refiner.network.unet.head.bias.detach().clone()
    with pytest.raises(ZeroDivisionError), script.nearer(refiner, 0.5):
        raise ZeroDivisionError
    assert torch.equal(refiner.network.unet.head.bias, before)


def test_a_set_is_measured_printed_and_stored(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "SHIFTS", (0.0, 0.5))
    monkeypatch.setattr(script.set_tables, "load_sparse_refiner", lambda *_, **__: random_refiner())
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["ablate_nearness", f"{room}=median", "--json", str(out)])
    assert script.set_tables.run("ablate_nearness", "", "shift", script.settings) == 0
    rows = json.loads(out.read_text())["room"]
    assert list(rows) == ["0", "0.5"] and set(rows["0"]) == set(script.set_tables.COLUMNS)
    assert rows["0"]["flat_abs_rel"] != rows["0.5"]["flat_abs_rel"]
    assert "| room: shift | AbsRel at edges" in capsys.readouterr().out
