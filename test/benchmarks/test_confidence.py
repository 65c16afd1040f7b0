"""The figures of docs/confidence.md are those that were measured."""

from __future__ import annotations

import json

from test.paths import ROOT
from test.scripts import load_script


def test_the_document_shows_what_was_measured() -> None:
    script = load_script(ROOT / "benchmarks" / "confidence.py")
    document = json.loads((ROOT / "benchmarks" / "results" / "confidence.json").read_text(encoding="utf-8"))
    assert script.tables(document) in (ROOT / "docs" / "confidence.md").read_text(encoding="utf-8")


def test_its_cost_and_what_it_leaves_flying_are_shown_as_measured() -> None:
    results, docs = ROOT / "benchmarks" / "results", ROOT / "docs"
    cost = load_script(ROOT / "benchmarks" / "confidence_cost.py")
    assert cost.table(json.loads((results / "confidence_cost.json").read_text())) in (docs / "confidence.md").read_text()
    flying, page = load_script(ROOT / "benchmarks" / "flying_pixels.py"), (docs / "pointcloud.md").read_text()
    for name in ("flying_confidence", "flying_confidence_rooms"):
        document = json.loads((results / f"{name}.json").read_text())
        assert flying.table(document["coarse"], document["min_confidence"]) in page
