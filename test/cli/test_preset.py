"""``--preset paper`` by the commands: what is refined, what is told, what is refused."""

from __future__ import annotations

import argparse
import inspect
import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.cli.options import SHARED, add_model_options
from depth_retrofit_ros.loading import load
from depth_retrofit_ros.ros.node.parameters import Settings
from depth_retrofit_ros.selection.threshold import CAP
from test.evaluation.test_evaluator import folders
from test.refinement.paper.nets import paper_checkpoint

SIZE = (90, 120)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return paper_checkpoint(tmp_path / "paper.safetensors", compact=0.9, files=0.5)


def image(photo: Path, *options: str) -> int:
    more = ["--model", "compact", "--device", "cpu", "--coarse-engine", "eager", "--engine", "torch"]
    return cli.main(["image", str(photo), "--out", str(photo.parent / "out"), *more, *options])


def test_an_image(photo: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image(photo, "--preset", "paper", "--refiner", str(checkpoint), "--entropy-threshold", "0.01") == 0
    (entry,) = json.loads((photo.parent / "out" / "images.json").read_text())
    pixels, most = SIZE[0] * SIZE[1], CAP * 0.1 * SIZE[0] * SIZE[1]
    assert 0.2 * pixels < entry["refined_pixels"] <= most
    assert (
        f"{pixels - entry['refined_pixels']} more are uncertain, beyond the bound of 2.5 times --budget" in capsys.readouterr().out
    )


def test_a_stored_map_with_features_and_one_without(tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for features, code in ((True, 0), (False, 2)):
        (folder := tmp_path / f"{features}").mkdir()
        pairs, coarse = folders(folder, features)
        paper = ["--preset", "paper", "--refiner", str(checkpoint), "--engine", "torch", "--json", str(folder / "a.json")]
        assert cli.main(["evaluate", str(pairs), "--coarse", str(coarse), "--device", "cpu", *paper]) == code
    told = capsys.readouterr()
    assert "preset paper selects by the entropy of features, and the map's file has none" in told.err
    notes = json.loads((tmp_path / "True" / "a.json").read_text())["summary"]["notes"]
    assert notes["preset"].startswith("paper: ") and "of the pixels are refined on average" in notes["preset"]
    assert notes["preset"] in told.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--entropy-threshold", "0.5"), "entropy_threshold is of preset paper"),
        (
            ("--preset", "paper", "--entropy-threshold", "1.0", "--refiner", "sparse"),
            "--entropy-threshold: 1.0 is outside 0 to below 1",
        ),
        (("--preset", "paper", "--refiner", "none.safetensors"), "none.safetensors"),
    ],
)
def test_what_does_not_go_together(photo: Path, options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert image(photo, *options) == 2
    except SystemExit as refused:  # by argparse
        assert refused.code == 2
    assert told in capsys.readouterr().err


def test_models_tells_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    assert "presets (--preset):\ndefault: " in capsys.readouterr().out


def test_bench_and_node_are_given_it_by_the_same_names() -> None:
    """``bench`` passes them to both by these names, and ``run`` to the node."""
    assert set(SHARED) <= inspect.signature(load).parameters.keys() & {field.name for field in fields(Settings)}
    args = argparse.ArgumentParser()
    add_model_options(args)
    assert set(SHARED) <= vars(args.parse_args([])).keys()
    assert {"preset", "entropy_threshold", "refiner", "selector", "second_model"} <= set(SHARED)


@pytest.mark.parametrize("command", ["image", "evaluate"])
@pytest.mark.parametrize("stored", [True, False])
def test_the_paper_s_threshold_is_of_entropy_and_not_of_disagreement(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], command: str, stored: bool
) -> None:
    pairs, coarse = folders(tmp_path, features=True)
    what = [str(pairs)] if command == "evaluate" else [str(pairs / "first.png"), "--out", str(tmp_path / "out")]
    depth = ["--coarse", str(coarse)] if stored else ["--model", "compact", "--coarse-engine", "eager"]
    both = ["--preset", "paper", "--refiner", str(checkpoint), "--selector", "disagreement", "--second-model", "meter-nyu"]
    assert cli.main([command, *what, *depth, *both, "--device", "cpu", "--engine", "torch"]) == 2
    assert "preset paper selects by its own threshold: leave selector disagreement out, or the preset" in capsys.readouterr().err
