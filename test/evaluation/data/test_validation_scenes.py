"""The validation frames that benchmarks/make_validation_scenes.py makes are what ``evaluate`` reads."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from test.paths import ROOT
from test.scripts import load_script

SCRIPT = ROOT / "benchmarks" / "make_validation_scenes.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(SCRIPT)


def make(script: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *options: str) -> int:
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--out", str(out), "--width", "192", "--height", "112", *options])
    return int(script.main())


def test_frames_and_simulated_coarse_maps_are_readable_and_repeatable(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, coarse = tmp_path / "one", tmp_path / "coarse"
    assert make(script, monkeypatch, one, "--count", "2", "--simulated", str(coarse)) == 0
    pairs = find_pairs(one)
    assert len(pairs) == 2
    for pair in pairs:
        sample = read_pair(pair)
        assert np.isfinite(sample.depth).mean() > 0.25 and sample.frame.image.std() > 5
        stored = read_stored(stored_path(coarse, pair.name), torch.device("cpu"))
        assert stored.has_features and stored.claim.word == "never"
        assert max(stored.prediction.depth.shape) <= 192
    again = tmp_path / "again"
    assert make(script, monkeypatch, again, "--count", "1") == 0
    first = find_pairs(again)[0]
    twin = next(pair for pair in pairs if pair.name == first.name)
    assert np.array_equal(read_pair(first).depth, read_pair(twin).depth, equal_nan=True)
    assert np.array_equal(read_pair(first).frame.image, read_pair(twin).frame.image)


def test_seeds_of_the_training_are_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(script, monkeypatch, tmp_path / "out", "--seed", "900") == 2
    assert "for training" in capsys.readouterr().err and not (tmp_path / "out").exists()
