"""The ablation's settings reach the selection, and nothing of them stays."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from depth_retrofit_ros.selection import contrast, uncertainty
from test.paths import ROOT
from test.refinement.nets import random_refiner
from test.scripts import load_script

script: Any = load_script(ROOT / "benchmarks" / "ablate_saturation.py")


def constants() -> tuple[float, float, int]:
    return uncertainty.FULL_CONTRAST, uncertainty.HALF_STEP, contrast.LEAST_PX


def test_a_setting_holds_within_and_only_there() -> None:
    before = constants()
    assert before in script.SETTINGS, "what is in use is among what is compared"
    with pytest.raises(ZeroDivisionError), script.saturating(0.5, 0.3, 7):
        assert constants() == (0.5, 0.3, 7)
        raise ZeroDivisionError
    assert constants() == before


def test_settings_select_otherwise(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "SETTINGS", ((0.1, 0.2, 3), (0.01, 3.0, 3)))
    monkeypatch.setattr(script.set_tables, "load_sparse_refiner", lambda *_, **__: random_refiner())
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["ablate_saturation", room, "--json", str(out)])
    assert script.set_tables.run("ablate_saturation", "", "full contrast, half step, least cell", script.settings) == 0
    rows = json.loads(out.read_text())["room"]
    assert list(rows) == ["0.1, 0.2, 3 px", "0.01, 3, 3 px"]
    usual, strange = (row["edge_abs_rel"] for row in rows.values())
    assert usual != pytest.approx(strange, rel=1e-6)
    assert "| room: full contrast, half step, least cell | AbsRel at edges" in capsys.readouterr().out
