"""What docs/temporal.md says is what was measured."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from test.paths import ROOT
from test.scripts import load_script


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads((ROOT / "benchmarks/results/temporal.json").read_text(encoding="utf-8"))


def test_the_documents_figures_are_the_measured_ones(document: Any) -> None:
    text, script = (ROOT / "docs/temporal.md").read_text(encoding="utf-8"), load_script(ROOT / "benchmarks/temporal.py")
    assert script.table(document, held_out=False) in text
    assert script.table(document, held_out=True) in text
    cost = {name: f"{document['cost'][name]['ratio'] - 1:.0%}" for name in ("standing", "moving")}
    assert f"{cost['standing']} to a frame of a standing camera and {cost['moving']} to one of a moving camera" in text


def test_what_got_worse_is_said(document: Any) -> None:
    """Every figure that is worse with memory stands in the document's list of them, and no other."""
    text, script = (ROOT / "docs/temporal.md").read_text(encoding="utf-8"), load_script(ROOT / "benchmarks/temporal.py")
    assert script.worse(document).splitlines() == re.findall(r"^- \w+ \d+, .*$", text, re.MULTILINE)


def test_flicker_is_at_most_half_and_the_edges_of_what_moves_stay(document: Any) -> None:
    assert len(document["sequences"]) == 32
    for row in document["sequences"]:
        assert row["on"]["flicker"] <= 0.5 * row["off"]["flicker"]
        assert row["on"]["ball_edge"] <= 1.02 * row["off"]["ball_edge"]


def test_the_figures_with_poses_and_of_settled_pixels_are_the_measured_ones() -> None:
    load_script(ROOT / "benchmarks/temporal.py")  # which the others import
    for name, page in (("camera_motion", "temporal"), ("settled_confidence", "confidence")):
        script = load_script(ROOT / f"benchmarks/{name}.py")
        measured = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))
        assert script.table(measured) in (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")


def test_exact_poses_cost_no_steadiness() -> None:
    measured = json.loads((ROOT / "benchmarks/results/camera_motion.json").read_text(encoding="utf-8"))
    for row in measured["sequences"]:
        assert row["exact"]["flicker"] <= 1.005 * row["images"]["flicker"] <= 0.5 * row["off"]["flicker"]
        assert row["exact"]["boundary_f1"] >= 0.998 * row["images"]["boundary_f1"]
        assert row["exact"]["ball_edge"] <= 1.01 * row["images"]["ball_edge"]
        assert row["exact"]["contradicted"] == 0
