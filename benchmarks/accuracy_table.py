#!/usr/bin/env python3
"""The tables of the README and the model card, from results of ``depth-retrofit evaluate``.

python benchmarks/accuracy_table.py "simulated=benchmarks/results/accuracy_simulated.json" …
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

COLUMNS = {  # key → (heading, whether more is better, format)
    "boundary_f1": ("boundary F1 ↑", True, ".3f"),
    "see": ("SEE [m] ↓", False, ".3f"),
    "edge_abs_rel": ("AbsRel at edges ↓", False, ".4f"),
    "flat_abs_rel": ("AbsRel elsewhere ↓", False, ".4f"),
    "delta1": ("δ₁ ↑", True, ".3f"),
}
NAMES = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "guided": "guided filter",
    "jbu": "joint bilateral",
    "equal_time": "coarse model alone, as large as fits the time",
    "base": "the refiner's own base",
    "refined": "**refined**",
}


def main() -> None:
    """Print the table and, below it, coverage and the worst change outside the edge band."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="TITLE=FILE")
    args = parser.parse_args()
    print("| coarse maps | upsampling | " + " | ".join(heading for heading, *_ in COLUMNS.values()) + " |")
    print("|---" * (2 + len(COLUMNS)) + "|")
    notes = []
    for item in args.results:
        title, _, path = item.partition("=")
        report = json.loads(Path(path).read_text())
        print("\n".join(rows(title, report["summary"]["methods"])))
        notes.append(f"{title}: coverage at 10 % {report['summary']['coverage']['0.1']:.2f}; {harm(report['images'])}")
    print("\n" + "\n".join(notes))


def rows(title: str, methods: dict[str, dict[str, float] | None]) -> list[str]:
    """One line per method, the best figure of each column in bold."""
    known = {name: figures for name in NAMES if (figures := methods.get(name)) is not None}
    best = {key: (max if more else min)(round(f[key], 4) for f in known.values()) for key, (_, more, _) in COLUMNS.items()}
    lines: list[str] = []
    for name, figures in known.items():
        cells = [format(figures[key], form) for key, (_, _, form) in COLUMNS.items()]
        cells = [f"**{c}**" if round(figures[key], 4) == best[key] else c for c, key in zip(cells, COLUMNS, strict=True)]
        lines.append(f"| {title if not lines else ''} | {NAMES[name]} | " + " | ".join(cells) + " |")
    return lines


def harm(images: list[dict[str, dict[str, dict[str, float]]]]) -> str:
    """The largest relative rise of ``flat_abs_rel`` against bilinear, and its mean change."""
    ratios = [i["methods"]["refined"]["flat_abs_rel"] / i["methods"]["bilinear"]["flat_abs_rel"] - 1 for i in images]
    return f"AbsRel elsewhere against bilinear, by image: worst {max(ratios):+.1%}, mean {sum(ratios) / len(ratios):+.1%}"


if __name__ == "__main__":
    main()
