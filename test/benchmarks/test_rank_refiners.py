"""The script that ranks refiners, on small frames and random refiners."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from depth_retrofit_ros.io.checkpoints import save_tensors
from test.evaluation.scenes import coarse_of, write_scene
from test.paths import ROOT
from test.refinement.nets import random_network
from test.scripts import load_script

PATH = ROOT / "benchmarks" / "rank_refiners.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(PATH)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    network = random_network()
    path = tmp_path / "refiner.safetensors"
    save_tensors(path, network.state_dict(), {"network": json.dumps({"widths": network.widths, "blocks": network.blocks})})
    return path


@pytest.fixture
def frames(tmp_path: Path) -> tuple[str, str]:
    pairs, coarse = tmp_path / "pairs", tmp_path / "coarse"
    for folder in (pairs, coarse):
        folder.mkdir()
    for seed, name in enumerate(("one", "two")):
        np.savez(coarse / f"{name}.npz", depth=coarse_of(write_scene(pairs, name, seed)))
    return str(pairs), str(coarse)


def rank(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", [str(PATH), *arguments])
    return int(script.main())


def test_refiners_are_ranked_on_every_set(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    frames: tuple[str, str],
    checkpoint: Path,
) -> None:
    out = tmp_path / "ranks.json"
    refiners = [f"a={checkpoint}", "bundled", f"b={checkpoint}"]
    sets = ["--set", "first", *frames, "--set", "second", *frames]
    assert rank(script, monkeypatch, *refiners, *sets, "--control", "a", "b", "--json", str(out)) == 0
    document = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert list(document["sets"]) == ["first", "second"] and document["control"] == ["a", "b"]
    ranked = document["sets"]["first"]
    assert set(ranked) == {"a", "b", "bundled"} and all(summary["frames"] == 2 for summary in ranked.values())
    edges = {name: summary["methods"]["refined"]["edge_abs_rel"] for name, summary in ranked.items()}
    assert edges["a"] == edges["b"] != edges["bundled"]
    assert ranked["a"]["methods"]["attainable"] == ranked["bundled"]["methods"]["attainable"]
    assert ranked["a"]["taken"]["edge_abs_rel"] != ranked["bundled"]["taken"]["edge_abs_rel"]

    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines[lines.index("first") + 1 : lines.index("second")]]
    names = [row[0] for row in table if row]
    assert set(names) >= {*script.BESIDE, *script.BELOW, "noise"}
    by_name = {row[0]: row for row in table if row}
    order = [name for name in names if name in edges]
    assert order == sorted(order, key=lambda name: edges[name])
    assert by_name["a"][1] == f"{edges['a']:.4f}" and by_name["noise"][1] == "0.0000"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["file.safetensors"], "no NAME=FILE"),
        (["bundled", "bundled"], "two refiners are named bundled"),
        (["bundled", "--control", "bundled", "other"], "--control names other"),
        (["a=nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    frames: tuple[str, str],
    arguments: list[str],
    told: str,
) -> None:
    assert rank(script, monkeypatch, *arguments, "--set", "x", *frames) == 2
    message = capsys.readouterr().err
    assert told in message and message.count("\n") == 1


def test_two_sets_of_one_name_are_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], frames: tuple[str, str]
) -> None:
    assert rank(script, monkeypatch, "bundled", "--set", "x", *frames, "--set", "x", *frames) == 2
    assert "two sets are named x" in capsys.readouterr().err
