"""The script that goes from the paper's settings to this project's, on small frames and a random refiner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test.evaluation.scenes import write_scene
from test.paths import ROOT
from test.refinement.paper.nets import paper_checkpoint
from test.scripts import load_script

PATH = ROOT / "benchmarks" / "ablate_paper.py"


def test_every_row_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs", tmp_path / "rows.json"
    pairs.mkdir()
    for seed, name in enumerate(("one", "two")):
        write_scene(pairs, name, seed)
    checkpoint = paper_checkpoint(tmp_path / "paper.safetensors", compact=0.3)
    options = [str(pairs), "--model", "compact", "--refiner", str(checkpoint), "--json", str(out)]
    monkeypatch.setattr("sys.argv", [str(PATH), *options])
    script = load_script(PATH)
    script.main()
    document = json.loads(out.read_text())
    rows = document["rows"]
    assert document["coarse"] == "compact" and len(rows) == 8 and {"paper", "default"} <= rows.keys()
    assert all(set(row) == set(script.SHOWN) and row["edge_abs_rel"] > 0 for row in rows.values())
    assert rows["paper, random selection"]["refined"] == rows["paper"]["refined"] > 0
    assert rows["paper, direct replacement"]["gate"] == 0 < rows["paper"]["gate"]
    told = capsys.readouterr().out
    assert all(f"\n{name}" in told for name in rows) and told.startswith("one\ntwo\n")
