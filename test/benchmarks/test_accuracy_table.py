"""benchmarks/accuracy_table.py: the README shows what was measured."""

from __future__ import annotations

import json

import pytest

from test.paths import ROOT
from test.scripts import load_script

TABLE = load_script(ROOT / "benchmarks" / "accuracy_table.py")


def test_the_readme_shows_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert TABLE.with_figures(readme) == readme


def test_a_row_is_of_its_file() -> None:
    table = TABLE.with_figures(f"above\n{TABLE.BEGIN}old\n{TABLE.END} below")
    assert table.startswith(f"above\n{TABLE.BEGIN}| frames |")
    assert table.endswith(f"|\n{TABLE.END} below")
    assert "old" not in table
    (title,) = [title for title, name in TABLE.README.items() if name == "accuracy_path_traced_256"]
    methods = json.loads((TABLE.RESULTS / "accuracy_path_traced_256.json").read_text())["summary"]["methods"]
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {title} |")]
    assert f"| {methods['bilinear']['see']:.3f} → {methods['refined']['see']:.3f} |" in row


def test_what_the_truth_does_not_show_has_no_figure() -> None:
    assert TABLE.change({"bilinear": {"see": 0.25}, "refined": {"see": 0.125}}, "see") == "0.250 → 0.125"
    assert TABLE.change({"bilinear": {"see": None}, "refined": {"see": None}}, "see") == "–"


def test_a_page_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no table"):
        TABLE.with_figures("no marks")
