"""Figures by set of frames and by setting: what ablations of several sets print and store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def report(
    sets: Mapping[str, Mapping[str, Mapping[str, float]]], setting: str, columns: Mapping[str, str], out: Path | None
) -> None:
    """Print a table per set, a row per setting; write all to ``out``. setting: what the rows are; columns: key of each figure, and
    its heading."""
    for name, rows in sets.items():
        print(f"\n| {name}: {setting} | " + " | ".join(columns.values()) + " |")
        print("|---" * (len(columns) + 1) + "|")
        for row, figures in rows.items():
            print(f"| {row} | " + " | ".join(f"{figures[key]:.4f}" for key in columns) + " |")
    if out is not None:
        out.write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")
