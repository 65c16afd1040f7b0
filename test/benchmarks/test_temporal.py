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
