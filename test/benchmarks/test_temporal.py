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
    text = (ROOT / "docs/temporal.md").read_text(encoding="utf-8")
    assert load_script(ROOT / "benchmarks/temporal.py").table(document) in text
    cost = {name: f"{document['cost'][name]['ratio'] - 1:.0%}" for name in ("standing", "moving")}
    assert f"{cost['standing']} to a frame of a standing camera and {cost['moving']} to one of a moving camera" in text


def test_flicker_is_at_most_half_on_every_sequence(document: Any) -> None:
    assert len(document["sequences"]) == 8
    for row in document["sequences"]:
        assert row["on"]["flicker"] <= 0.5 * row["off"]["flicker"]
        assert row["on"]["ball_edge"] <= 1.02 * row["off"]["ball_edge"]


def test_what_got_worse_is_said(document: Any) -> None:
    """Every figure that is worse with memory stands in the document's list of them."""
    text = (ROOT / "docs/temporal.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^- (\w+), (\w+), (\w+): (\w+)", text, re.MULTILINE))
    worse = {
        (row["scene"], row["camera"], row["model"], name)
        for row in document["sequences"]
        for name, sign in (("abs_rel", 1), ("scaled_abs_rel", 1), ("boundary_f1", -1))
        if sign * (row["on"][name] - row["off"][name]) > 1e-9
    }
    assert worse == told
