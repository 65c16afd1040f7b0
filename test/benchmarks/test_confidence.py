"""The figures of docs/confidence.md are those that were measured."""

from __future__ import annotations

import json

from test.paths import ROOT
from test.scripts import load_script


def test_the_document_shows_what_was_measured() -> None:
    script = load_script(ROOT / "benchmarks" / "confidence.py")
    document = json.loads((ROOT / "benchmarks" / "results" / "confidence.json").read_text(encoding="utf-8"))
    assert script.tables(document) in (ROOT / "docs" / "confidence.md").read_text(encoding="utf-8")
