"""The yardstick of the refiners, on small frames with untrained ones: what is measured, what is kept, and the tables of it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.urgt.network import Urgt
from test.evaluation.scenes import CAMERA, coarse_of, picture, truth
from test.paths import ROOT
from test.refinement.nets import random_network
from test.refinement.paper.nets import paper_checkpoint

ENLARGED = 2


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield importlib.import_module("refiners")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    pairs, coarse = tmp_path_factory.mktemp("pairs"), tmp_path_factory.mktemp("coarse")
    for seed, name in enumerate(("one", "two")):
        low = truth(seed)
        depth = low.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
        camera = CAMERA.resized(depth.shape[1], depth.shape[0])
        cv2.imwrite(str(pairs / f"{name}.png"), picture(depth))
        np.savez(pairs / f"{name}.npz", depth=depth, fx=camera.fx, fy=camera.fy, cx=camera.cx, cy=camera.cy)
        np.savez(coarse / f"{name}.npz", depth=coarse_of(low))
    return "small", str(pairs), str(coarse)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a sparse refiner and of one of tiles, untrained."""
    folder = tmp_path_factory.mktemp("checkpoints")
    sparse, tiles = random_network(), Urgt()
    torch.manual_seed(0)
    torch.nn.init.normal_(tiles.head.last.weight, 0.0, 0.05)
    paths = {"sparse": folder / "sparse.safetensors", "tiles": folder / "tiles.safetensors"}
    save_tensors(paths["sparse"], sparse.state_dict(), {"network": json.dumps({"widths": sparse.widths, "blocks": sparse.blocks})})
    save_tensors(paths["tiles"], tiles.state_dict(), {"refiner": "urgt", "network": json.dumps({})})
    return paths


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["refiners.py", "--quick", "--threads", str(torch.get_num_threads()), *map(str, arguments)])
    return int(script.main())


def test_everything_is_measured_stored_and_kept(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    frames: tuple[str, str, str],
    checkpoints: dict[str, Path],
) -> None:
    out, docs = tmp_path / "refiners.json", tmp_path / "refiners.md"
    docs.write_text((ROOT / "docs" / "refiners.md").read_text(encoding="utf-8"), encoding="utf-8")
    named = [f"{name}={path}" for name, path in checkpoints.items()]
    parts = ["accuracy", "seams", "normals", "flicker", "speed", "predicted"]
    arguments: list[str | Path] = ["--json", out, "--set", *frames, "--docs", docs, "--ablations-json", tmp_path / "none.json"]
    assert run(script, monkeypatch, *named, *arguments, "--parts", *parts) == 0
    stored = json.loads(out.read_text(), parse_constant=pytest.fail)

    assert set(stored["refiners"]) == set(checkpoints) and set(stored["baselines"]) == {"small"}
    for entry in stored["refiners"].values():
        refined, bilinear = entry["accuracy"]["small"]["refined"], entry["accuracy"]["small"]["bilinear"]
        assert refined["edge_abs_rel"] != bilinear["edge_abs_rel"] == stored["baselines"]["small"]["bilinear"]["edge_abs_rel"]
        assert refined["ce"] > 0 and refined["dbe_accuracy"] > 0 and entry["accuracy"]["small"]["frames"] == ["one", "two"]
        assert entry["flicker"]["refined"]["median"] > 0 and entry["speed"]["refine_ms"] > 0
    assert stored["refiners"]["sparse"]["seams"] is stored["refiners"]["sparse"]["normals"] is None
    tiles = stored["refiners"]["tiles"]
    assert tiles["seams"]["order"] < 1e-4 and tiles["seams"]["overlap_alone"] > 0 and tiles["seams"]["change"] > 0
    assert 0 < tiles["normals"]["small"]["own"]["normal_mean"] < 180
    if "ms" in tiles["predicted"]:
        assert all(0 < time["best"] < time["expected"] for time in tiles["predicted"]["ms"].values())
    oracle, upsampled = (stored["baselines"]["small"][name]["edge_abs_rel"] for name in ("oracle", "base"))
    assert oracle < upsampled

    text = docs.read_text(encoding="utf-8")
    assert f"| **tiles** | {tiles['accuracy']['small']['refined']['edge_abs_rel']:.4f} |" in text
    capsys.readouterr()
    before = out.read_text()
    live = ["--set", "live", frames[1], "compact"]
    assert run(script, monkeypatch, *named[:1], *arguments, *live, "--parts", "accuracy") == 0
    assert capsys.readouterr().out.splitlines() == ["sparse: live", "baselines: live"], "another set is measured alone"
    by_set = json.loads(out.read_text())["refiners"]["sparse"]["accuracy"]
    assert by_set["live"]["bilinear"]["edge_abs_rel"] != by_set["small"]["bilinear"]["edge_abs_rel"]
    out.write_text(before)
    assert run(script, monkeypatch, *named, *arguments, "--parts", *parts) == 0
    told = capsys.readouterr().out
    assert "tiles" not in told and "sparse" not in told, "what is stored is not measured again"
    kept = json.loads(before)
    kept["refiners"]["tiles"]["checkpoint"]["sha256"] = "of another file"
    out.write_text(json.dumps(kept))
    assert run(script, monkeypatch, *named, *arguments, "--parts", "accuracy") == 0
    told = capsys.readouterr().out
    assert "tiles: small" in told and "sparse" not in told, "a new checkpoint is measured alone"
    assert json.loads(out.read_text())["refiners"]["tiles"]["accuracy"] == tiles["accuracy"]


def test_the_paper_s_refiner_is_measured_within_its_preset(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    frames: tuple[str, str, str],
) -> None:
    """On maps with features of a model that it is calibrated for; on others the table says nothing."""
    out, checkpoint = tmp_path / "refiners.json", paper_checkpoint(tmp_path / "paper.safetensors", compact=0.9)
    sets = ["--set", *frames, "--set", "live", frames[1], "compact"]
    parts = ["accuracy", "flicker", "predicted"]
    assert run(script, monkeypatch, f"paper={checkpoint}", "--json", out, *sets, "--parts", *parts) == 0
    entry = json.loads(out.read_text())["refiners"]["paper"]
    assert "has none" in entry["accuracy"]["small"]["not"] and "uncertain" in entry["predicted"]["not"]
    live = entry["accuracy"]["live"]
    assert live["refined"]["edge_abs_rel"] != live["bilinear"]["edge_abs_rel"] and 0 < live["selected"] <= 0.25
    document: Any = sys.modules["refiner_table.document"]
    rows = list(document.main_table(json.loads(out.read_text())))
    assert any(row.startswith(f"| **paper** (1 of 2 sets) | {live['refined']['edge_abs_rel']:.4f} |") for row in rows)


def test_memory_is_that_of_a_process_of_its_own(script: ModuleType, checkpoints: dict[str, Path]) -> None:
    cost: Any = sys.modules["refiner_table.cost"]
    small, large = (cost.memory(str(checkpoints["sparse"]), size, 0.1, 1) for size in ((180, 320), (1080, 1920)))
    assert large["peak"] > small["peak"] > 50 and large["frame"] > 20 > small["frame"] - 20
    assert cost.memory("guided", (1080, 1920), 0.1, 1)["frame"] > 20


def test_ablations_are_rows_by_system(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    frames: tuple[str, str, str],
    checkpoints: dict[str, Path],
) -> None:
    out = tmp_path / "ablations.json"
    folder = tmp_path / "no attention"
    folder.mkdir()
    (folder / "refiner.safetensors").write_bytes(checkpoints["tiles"].read_bytes())
    variants = [f"full={checkpoints['tiles']}", str(folder)]
    assert run(script, monkeypatch, "--json", out, "--set", *frames, "--ablations", *variants) == 0
    rows = json.loads(out.read_text())
    assert [(row["system"], row["variant"]) for row in rows] == [
        ("sparse", "entropy, gate (as it is)"),
        ("sparse", "random selection"),
        ("sparse", "direct replacement"),
        ("urgt", "full"),
        ("urgt", "no attention"),
    ]
    figures = [row["figures"] for row in rows]
    assert len({row["edge_abs_rel"] for row in figures[:3]}) == 3, "each variant does something"
    assert figures[3] == figures[4] and figures[3]["overlap_alone"] > 0 and figures[3]["ce"] > 0
    stamp = out.stat().st_mtime_ns
    assert run(script, monkeypatch, "--json", out, "--set", *frames, "--ablations", *variants) == 0
    assert out.stat().st_mtime_ns == stamp, "nothing is measured again"
    assert run(script, monkeypatch, "--json", out, "--set", "other", *frames[1:], "--ablations", *variants[:1]) == 0
    again = json.loads(out.read_text())
    assert [row["frames"] for row in again] == [{"other": ["one", "two"]}] * 4 + [{"small": ["one", "two"]}]
    document: Any = sys.modules["refiner_table.document"]
    table = list(document.ablations_table(rows))
    assert len(table) == 2 + len(rows) and table[-1].startswith("|  | no attention |")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonesuch"], "unknown refiner 'nonesuch'"),
        (["a=nowhere.safetensors"], "nowhere.safetensors"),
        (["--ablations", "nowhere"], "nowhere holds 0 checkpoints"),
        (["--ablations", "--docs", "x.md"], "leave it out beside --ablations"),
        (["--set", "x", "nowhere", "nowhere"], "no folder nowhere"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    told: str,
) -> None:
    assert run(script, monkeypatch, *arguments, "--json", tmp_path / "out.json", "--parts", "accuracy") == 2
    message = capsys.readouterr().err
    assert told in message and message.count("\n") == 1


def test_the_document_has_the_figures_that_were_measured(script: ModuleType) -> None:
    document: Any = sys.modules["refiner_table.document"]
    results = ROOT / "benchmarks" / "results"
    stored, ablations = (json.loads((results / f"{name}.json").read_text()) for name in ("refiners", "refiner_ablations"))
    text = (ROOT / "docs" / "refiners.md").read_text(encoding="utf-8")
    assert document.filled(text, stored, ablations) == text
    assert set(document._TABLE.findall(text)[i][1] for i in range(7)) == {
        "main",
        "sets",
        "seams",
        "normals",
        "memory",
        "predicted",
        "ablations",
    }
