"""The page of training shows what was measured with a number of processes that changes, and the figures are those of the logs."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from test.paths import ROOT

FIGURES = json.loads((ROOT / "benchmarks" / "results" / "several_processes.json").read_text())
TOLERANCE = 1e-4  # of the mean loss of 50 steps, relative


def test_the_page_shows_what_was_measured() -> None:
    page = " ".join((ROOT / "docs" / "tutorials" / "training.md").read_text(encoding="utf-8").split())
    found = FIGURES["relative_difference_of_total"]
    last = str(FIGURES["steps"])
    assert f"{FIGURES['steps']} steps of {FIGURES['batch']} crops" in page
    assert f"killed after {FIGURES['steps_each']} and {2 * FIGURES['steps_each']} steps and resumed" in page
    assert f"differ by {max(found.values()):.2g} at most, relative" in page
    left = [FIGURES[name]["val_left"][last] for name in ("one process", "changing")]
    assert f"`val_left` is {left[0]:.4f} and {left[1]:.4f}" in page


def test_the_losses_are_those_of_one_process() -> None:
    """In the logs themselves, which have the same lines; and they fall."""
    one, other = FIGURES["one process"], FIGURES["changing"]
    assert {name: sorted(values) for name, values in one.items()} == {name: sorted(values) for name, values in other.items()}
    assert FIGURES["processes"] == [2, 1, 2] and FIGURES["steps"] == 3 * FIGURES["steps_each"]
    for step, value in one["total"].items():
        found = abs(other["total"][step] - value) / value
        assert found < TOLERANCE and found == pytest.approx(FIGURES["relative_difference_of_total"][step], rel=0.06)
    totals = list(one["total"].values())  # each of other crops: a third of them tells more than one
    third = len(totals) // 3
    assert fmean(totals[-third:]) < 0.95 * fmean(totals[:third]) and one["val_left"][str(FIGURES["steps"])] < 0.95
