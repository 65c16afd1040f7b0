#!/usr/bin/env python3
"""The tables of docs/evaluation.md and the model card, from results of ``depth-retrofit evaluate``; the README's with --readme.

python benchmarks/accuracy_table.py "simulated=benchmarks/results/accuracy_simulated.json" …
python benchmarks/accuracy_table.py --readme README.md                                          # `make figures`
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
RESULTS = Path(__file__).parent / "results"
# The README's rows: real frames first.
README = {
    "**Real**, eight frames of a RealSense D435, by `compact`": "replay_d435_compact",
    "**Real**, a phone's LiDAR in a room, by `compact`": "accuracy_phone_compact",
    "**Real**, a motorcycle, structured light, by `compact`": "accuracy_motorcycle_compact",
    "Rendered by another renderer, a coarse map of 518 px": "accuracy_another_renderer_518",
    "Path-traced thin structures, a coarse map of 518 px": "accuracy_path_traced_518",
    "The same, of 256 px": "accuracy_path_traced_256",
    "Rooms and streets of the training's kind, a coarse map with features": "accuracy_simulated",
    "The same, by `compact`": "accuracy_compact",
}
SHOWN = {
    "edge_abs_rel": "AbsRel at edges ↓",
    "boundary_f1": "boundary F1 ↑",
    "see": "SEE [m] ↓",
    "flat_abs_rel": "AbsRel elsewhere ↓",
}
BEGIN, END = "<!-- figures: written by `make figures` -->\n", "<!-- end -->"


def main() -> None:
    """Print the table and, below it, coverage and the worst change outside the edge band."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", metavar="TITLE=FILE")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="write the README's table into this file")
    args = parser.parse_args()
    if args.readme is not None:
        args.readme.write_text(with_figures(args.readme.read_text(encoding="utf-8")), encoding="utf-8")
        return
    print("| coarse maps | upsampling | " + " | ".join(heading for heading, *_ in COLUMNS.values()) + " |")
    print("|---" * (2 + len(COLUMNS)) + "|")
    notes = []
    for item in args.results:
        title, _, path = item.partition("=")
        report = json.loads(Path(path).read_text())
        print("\n".join(rows(title, report["summary"]["methods"])))
        notes.append(f"{title}: coverage at 10 % {report['summary']['coverage']['0.1']:.2f}; {harm(report['images'])}")
    print("\n" + "\n".join(notes))


def with_figures(page: str) -> str:
    """``page`` with the README's table between its two marks. Raises ValueError where it lacks them."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no table's place: {BEGIN.strip()} … {END}")
    lines = ["| frames | " + " | ".join(SHOWN.values()) + " |", "|---" * (1 + len(SHOWN)) + "|"]
    for title, name in README.items():
        report = json.loads((RESULTS / f"{name}.json").read_text())
        methods = (report.get("summary") or report["accuracy"])["methods"]
        lines.append(f"| {title} | " + " | ".join(change(methods, key) for key in SHOWN) + " |")
    return f"{head}{begin}" + "\n".join(lines) + f"\n{end}{tail}"


def change(methods: dict[str, dict[str, float | None]], key: str) -> str:
    """A figure before and after; – where the truth shows nothing that it could be taken from."""
    before, after = methods["bilinear"][key], methods["refined"][key]
    return "–" if before is None or after is None else f"{before:.3f} → {after:.3f}"


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
