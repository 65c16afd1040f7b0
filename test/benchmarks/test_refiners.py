"""The yardstick of the refiners, on small frames with untrained ones: what is measured, what is kept, and the tables of it."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.evaluation.data.dataset import Pair
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


@pytest.mark.slow
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
        assert (
            refined["ce"] > 0 and refined["dbe_accuracy"] > 0 and list(entry["accuracy"]["small"]["of"]["frames"]) == ["one", "two"]
        )
        assert entry["flicker"]["refined"]["median"] > 0 and 0 < entry["speed"]["refine_ms"] < entry["speed"]["method_ms"] < 1e5
        assert all(entry[part]["by"]["threads"] == torch.get_num_threads() for part in ("flicker", "speed", "predicted"))
    for part in ("seams", "normals"):
        assert set(stored["refiners"]["sparse"][part]["small"]) == {"of", "by"}, "there is nothing to be had"
    tiles = stored["refiners"]["tiles"]
    seams = tiles["seams"]["small"]
    assert seams["order"] < 1e-4 and seams["overlap_alone"] > 0 and seams["change"] > 0
    assert 0 < tiles["normals"]["small"]["own"]["normal_mean"] < 180
    if "ms" in tiles["predicted"]:
        assert all(0 < time["best"] < time["expected"] for time in tiles["predicted"]["ms"].values())
    oracle, upsampled = (stored["baselines"]["small"][name]["edge_abs_rel"] for name in ("oracle", "base"))
    assert oracle < upsampled

    text = docs.read_text(encoding="utf-8")
    assert f"| **tiles** | {tiles['accuracy']['small']['refined']['edge_abs_rel']:.4f} |" in text
    assert f"| {1e3 * seams['overlap_together']:.2f} |" in text and "| refiner (2 frames, of 2 images) |" in text
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
    out, checkpoint = tmp_path / "refiners.json", paper_checkpoint(tmp_path / "paper.safetensors", compact=0.7)
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


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(script: ModuleType, checkpoints: dict[str, Path]) -> None:
    """How much a frame takes beside what is there already is the allocator's to say; that a large one takes more is not."""
    cost: Any = sys.modules["refiner_table.cost"]
    for chosen in (str(checkpoints["sparse"]), "guided"):
        small, large = (cost.memory(chosen, size, 0.1, 1) for size in ((180, 320), (2160, 3840)))
        assert large["peak"] > small["peak"] > 0 and large["peak"] > large["frame"] >= 0


def test_what_is_of_something_else_is_measured_again(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    frames: tuple[str, str, str],
    checkpoints: dict[str, Path],
) -> None:
    """Another budget, alignment, or coarse map of the same name; and with --again all that is asked for."""
    out, maps = tmp_path / "refiners.json", tmp_path / "coarse"
    shutil.copytree(frames[2], maps)
    named = [f"sparse={checkpoints['sparse']}", "--json", str(out), "--set", *frames[:2], str(maps), "--parts", "accuracy"]

    def told(*more: str) -> list[str]:
        capsys.readouterr()
        assert run(script, monkeypatch, *named, *more) == 0
        return capsys.readouterr().out.splitlines()

    both = ["sparse: small", "baselines: small"]
    assert told() == both and told() == []
    assert told("--budget", "0.2") == both and told("--budget", "0.2") == []
    budget = json.loads(out.read_text())["refiners"]["sparse"]["accuracy"]["small"]
    assert budget["of"]["budget"] == 0.2 and budget["of"]["preset"] == "default"
    assert told("--budget", "0.2", "--align", "scale-shift") == both
    figures = json.loads(out.read_text())["refiners"]["sparse"]["accuracy"]["small"]["refined"]
    assert figures != budget["refined"]
    assert told() == both and told() == []
    with np.load(maps / "one.npz") as file:
        np.savez(maps / "one.npz", depth=1.5 * file["depth"] + 0.2)
    assert told() == both and told() == []
    assert told("--again") == both
    speed = [*named[:-1], "speed"]
    assert run(script, monkeypatch, *speed) == 0
    stored = json.loads(out.read_text())
    stored["upsampling"]["bilinear"]["speed"]["method_ms"] = -1.0
    out.write_text(json.dumps(stored))
    assert run(script, monkeypatch, *speed) == 0
    assert json.loads(out.read_text())["upsampling"]["bilinear"]["speed"]["method_ms"] == -1, "it is kept"
    assert run(script, monkeypatch, *speed, "--again") == 0
    assert json.loads(out.read_text())["upsampling"]["bilinear"]["speed"]["method_ms"] > 0


def test_frames_are_drawn_over_their_kinds(script: ModuleType) -> None:
    accuracy: Any = sys.modules["refiner_table.accuracy"]
    names = [f"{kind}_9000_{number:03d}" for kind in ("garden", "living_room", "street") for number in range(4)]
    pairs = [Pair(name, Path(name), Path(name)) for name in names]
    for most in (1, 3, 5, 40):
        drawn = [pair.name for pair in accuracy.drawn(pairs, most)]
        assert drawn == [pair.name for pair in accuracy.drawn(list(pairs), most)] == sorted(drawn)
        assert len(set(drawn)) == min(most, len(names))
        counts = Counter(name.rsplit("_", 2)[0] for name in drawn)
        assert max(counts.values()) - min(counts.values()) <= 1 and len(counts) == min(most, 3)
    assert [pair.name for pair in accuracy.drawn(pairs, 3)] != names[:3]
    plain = [Pair(f"scene_{number:02d}", Path(), Path()) for number in range(9)]
    assert [pair.name for pair in accuracy.drawn(plain, 3)] != ["scene_00", "scene_01", "scene_02"]


def test_frames_of_several_sets_are_counted_once(script: ModuleType) -> None:
    document: Any = sys.modules["refiner_table.document"]
    by_set = {
        "a": {"of": {"frames": {"one": "11", "two": "22"}}},
        "b": {"of": {"frames": {"one": "11", "two": "other"}}},
    }
    assert document._counts(by_set) == "refiner (4 frames, of 3 images)"


def test_seams_count_by_frames(script: ModuleType) -> None:
    document: Any = sys.modules["refiner_table.document"]
    keys = (*document.SEAMS, "order")
    row = lambda value, *frames: {"of": {"frames": dict.fromkeys(frames, "")}, **dict.fromkeys(keys, value)}  # noqa: E731
    found = document.overall_seams({"a": row(1.0, "x", "y"), "b": row(4.0, "z"), "c": {"of": {"frames": {"w": ""}}}})
    assert found["overlap_together"] == pytest.approx(2) and found["order"] == 4
    assert document.overall_seams({})["overlap_together"] is None


@pytest.mark.slow
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
        ("paper", "entropy, gate (as it is)"),
        ("paper", "random selection"),
        ("paper", "direct replacement"),
        ("urgt", "full"),
        ("urgt", "no attention"),
    ]
    figures = [row["figures"] for row in rows]
    assert len({row["edge_abs_rel"] for row in figures[:3]}) == 3, "each variant does something"
    assert figures[6] == figures[7] and figures[6]["overlap_alone"] > 0 and figures[6]["ce"] > 0
    stamp = out.stat().st_mtime_ns
    assert run(script, monkeypatch, "--json", out, "--set", *frames, "--ablations", *variants) == 0
    assert out.stat().st_mtime_ns == stamp, "nothing is measured again"
    assert run(script, monkeypatch, "--json", out, "--set", "other", *frames[1:], "--ablations", *variants[:1]) == 0
    again = json.loads(out.read_text())
    assert [{name: list(of["frames"]) for name, of in row["of"].items()} for row in again] == [
        *[{"other": ["one", "two"]}] * 7,
        {"small": ["one", "two"]},
    ]
    assert run(script, monkeypatch, "--json", out, "--set", *frames, "--ablations", *variants, "--budget", "0.2") == 0
    assert all(row["of"]["small"]["budget"] == 0.2 for row in json.loads(out.read_text())), "another budget is another row"
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
