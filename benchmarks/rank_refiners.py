#!/usr/bin/env python3
"""Which refiner is best? Several checkpoints on several sets of frames with stored coarse maps, side by side.

    python benchmarks/rank_refiners.py bundled a=A.safetensors b=B.safetensors wider=W.safetensors --control a b \\
        --set 518 FRAMES COARSE518 --set 256 FRAMES COARSE256 --json ranks.json

Everything is measured as ``depth-retrofit evaluate --oracles`` does (docs/evaluation.md). The refiners of a set are in the order of
their AbsRel at edges; two seeds of one design tell how large a difference is noise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.device.choice import pick_device
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import Evaluated, Evaluator, with_oracles
from depth_retrofit_ros.evaluation.metrics.alignment import MODES
from depth_retrofit_ros.evaluation.report.results import Entry, aligned, image_entry, summarize
from depth_retrofit_ros.refinement.registry import load_refiner

BUNDLED = "bundled"
BESIDE = ("bilinear", "guided", "jbu", "base")  # shown above the refiners
BELOW = ("attainable", "oracle_selection", "oracle")  # and below them
Figure = float | None
Column = Callable[[Entry, str], Figure]  # (summary, method) → figure


def metric(name: str) -> Column:
    """A figure of ``methods``."""
    return lambda summary, method: (summary["methods"][method] or {}).get(name)


def of_refined(*keys: str) -> Column:
    """A figure that only a refiner has, by its path in the summary."""

    def read(summary: Entry, method: str) -> Figure:
        figure: Any = summary
        for key in keys:
            figure = figure[key]
        return None if method != "refined" else figure

    return read


def class_error(kind: str) -> Column:
    """Mean |ln depth − ln truth| over a class of pixels."""
    return lambda summary, method: summary["classes"][kind]["log_error"].get(method)


COLUMNS: Sequence[tuple[str, Column, int]] = (  # heading, figure, decimals
    ("edges", metric("edge_abs_rel"), 4),
    ("p95", metric("edge_abs_rel_p95"), 3),
    ("elsewhere", metric("flat_abs_rel"), 4),
    ("worst", of_refined("flat_ratio", "worst"), 4),
    ("SEE", metric("see"), 3),
    ("F1", metric("boundary_f1"), 3),
    ("taken: edges", of_refined("taken", "edge_abs_rel"), 3),
    ("SEE", of_refined("taken", "see"), 3),
    ("F1", of_refined("taken", "boundary_f1"), 3),
    ("moved far", of_refined("moved_far"), 5),
    ("ln: thin", class_error("thin"), 3),
    ("gaps", class_error("gaps"), 3),
    ("beside", class_error("beside_thin"), 3),
    ("edges", class_error("edges"), 3),
    ("elsewhere", class_error("elsewhere"), 3),
)


def main() -> int:
    """Measure, write the JSON, print a table per set."""
    args = parser().parse_args()
    try:
        checkpoints = named_checkpoints(args.refiners)
        if missing := [name for name in args.control or () if name not in checkpoints]:
            raise DepthRetrofitError(f"--control names {', '.join(missing)}: name two of the refiners {', '.join(checkpoints)}")
        names = [name for name, _, _ in args.set]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DepthRetrofitError(f"two sets are named {twice[0]}: give each its own name")
        sets = {name: measure(checkpoints, Path(frames), Path(coarse), args) for name, frames, coarse in args.set}
    except DepthRetrofitError as error:
        print(f"rank_refiners: error: {error}", file=sys.stderr)
        return 2
    for name, refiners in sets.items():
        print(f"\n{name}\n{table(refiners, args.control)}")
    if args.json is not None:
        document = {"align": args.align, "budget": args.budget, "control": args.control, "sets": sets}
        args.json.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("refiners", nargs="+", metavar="NAME=FILE", help=f"checkpoints; {BUNDLED}: the one of the package")
    out.add_argument("--set", nargs=3, action="append", required=True, metavar=("NAME", "FRAMES", "COARSE"))
    out.add_argument("--control", nargs=2, metavar=("NAME", "NAME"), help="two seeds of one design; their difference is the noise")
    out.add_argument("--align", choices=MODES, default="median")
    out.add_argument("--budget", type=float, default=0.1, help="share of the pixels that are refined (default: 0.1)")
    out.add_argument("--device", default="auto")
    out.add_argument("--engine", default="auto")
    out.add_argument("--json", type=Path, metavar="OUT")
    return out


def named_checkpoints(named: list[str]) -> dict[str, Path | None]:
    """``NAME=FILE`` → name: file; None is the bundled one."""
    out: dict[str, Path | None] = {}
    for item in named:
        name, equals, path = item.partition("=")
        if not equals and name != BUNDLED:
            raise DepthRetrofitError(f"{item} is no NAME=FILE: give the checkpoint a name, or name {BUNDLED}")
        if name in out:
            raise DepthRetrofitError(f"two refiners are named {name}: give each its own name")
        out[name] = Path(path) if equals else None
    return out


def measure(checkpoints: Mapping[str, Path | None], frames: Path, coarse: Path, args: argparse.Namespace) -> dict[str, Entry]:
    """The summary of each refiner over all frames. The oracles depend on the selected pixels alone, so one refiner's serve all."""
    device = pick_device(args.device)
    evaluators = {
        name: Evaluator(load_refiner(path, device, args.engine, "float32"), args.budget, args.align)
        for name, path in checkpoints.items()
    }
    entries: dict[str, list[Entry]] = {name: [] for name in checkpoints}
    for pair in find_pairs(frames):
        sample, stored = read_pair(pair), read_stored(stored_path(coarse, pair.name), device)
        before: Evaluated | None = None
        for name, evaluator in evaluators.items():
            before = with_oracles(evaluator(sample, stored), before)
            entries[name].append(image_entry(before))
        print(f"{coarse.name}: {pair.name}", flush=True)
    facts: dict[str, Any] = {"frames": len(next(iter(entries.values())))}
    return {name: summarize(rows, facts)["summary"] for name, rows in entries.items()}


def table(refiners: Mapping[str, Entry], control: list[str] | None) -> str:
    """Baselines, refiners by their AbsRel at edges, what is attainable, and the difference of the two controls."""
    at_edges = metric("edge_abs_rel")
    order = sorted(refiners, key=lambda name: at_edges(refiners[name], "refined") or 0.0)
    first = refiners[order[0]]
    rows = [["", *(heading for heading, _, _ in COLUMNS)]]
    rows += [[method, *cells(first, method)] for method in BESIDE]
    rows += [[name, *cells(refiners[name], "refined")] for name in order]
    rows += [[method, *cells(first, method)] for method in BELOW]
    if control is not None:
        one, other = (refiners[name] for name in control)
        pairs = ((read(one, "refined"), read(other, "refined"), digits) for _, read, digits in COLUMNS)
        rows.append(["noise", *(shown(None if a is None or b is None else abs(a - b), digits) for a, b, digits in pairs)])
    chosen = ", ".join(f"{kind} {shown(row['selected'], 3)} of {shown(row['share'], 4)}" for kind, row in first["classes"].items())
    return f"{aligned(rows)}\nselected share of each class, and its share of the frame: {chosen}"


def cells(summary: Entry, method: str) -> list[str]:
    """One row of the table."""
    return [shown(read(summary, method), digits) for _, read, digits in COLUMNS]


def shown(value: Figure, digits: int) -> str:
    """A figure, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
