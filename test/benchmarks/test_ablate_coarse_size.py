"""What refinement is worth in pixels of a coarse map, and whether the measurement runs at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test.evaluation.scenes import sample
from test.paths import ROOT
from test.refinement.nets import random_refiner
from test.scripts import load_script

script: Any = load_script(ROOT / "benchmarks" / "ablate_coarse_size.py")


def curve(stretched: list[float], refined: list[float]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        str(size): {
            "stretched": {"edge_abs_rel": s, "boundary_f1": 1 - s},
            "refined": {"edge_abs_rel": r, "boundary_f1": 1 - r},
        }
        for size, s, r in zip((100, 200, 400), stretched, refined, strict=True)
    }


def test_worth_is_the_size_at_which_a_stretched_map_is_as_good() -> None:
    found = script.worth(curve([0.4, 0.3, 0.2], [0.3, 0.25, 0.15]))
    assert found["100"] == {"edge_abs_rel": pytest.approx(4.0), "boundary_f1": pytest.approx(4.0)}
    assert found["200"]["edge_abs_rel"] == pytest.approx(2.0, abs=0.01)  # half the way from 200 to 400 px, in octaves
    assert found["400"] == {"edge_abs_rel": None, "boundary_f1": None}


def test_what_refinement_does_not_improve_is_worth_its_own_pixels() -> None:
    assert script.worth(curve([0.4, 0.3, 0.2], [0.4, 0.35, 0.3]))["100"]["edge_abs_rel"] == pytest.approx(1.0)


def test_sources_are_measured_and_the_table_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "SIMULATED_SIZES", (32, 64))
    monkeypatch.setattr(script, "SIZES", (64,))
    monkeypatch.setattr(script, "DRAWS", 1)
    one = sample(tmp_path)
    found = script.accuracy(iter([one]), random_refiner(), None)
    assert list(found) == ["compact", "simulated"] and list(found["simulated"]) == ["32", "64"]
    assert all(np.isfinite(row["edge_abs_rel"]) for row in found["compact"]["64"].values())
    grids = script.enlarged(iter([one]), random_refiner())
    assert list(grids) == ["small", "native", *map(str, script.GRIDS[1:-1]), "by detail"]
    document = {"accuracy": found, "accuracy_per_pixels": {name: script.worth(c) for name, c in found.items()}, "enlarged": grids}
    script.show(json.loads(json.dumps(document)))
    assert "simulated     64 refined" in capsys.readouterr().out
