"""Figures by set of frames and by setting: what ablations of several sets measure, print and store."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import Any, cast, get_args

import torch

from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import Evaluated, Evaluator, Figures
from depth_retrofit_ros.evaluation.metrics.alignment import Mode
from depth_retrofit_ros.evaluation.report.gains import class_entry, mean_classes
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner, load_sparse_refiner

BUDGET = 0.1
METRICS = {"edge_abs_rel": "AbsRel at edges", "flat_abs_rel": "elsewhere", "see": "SEE [m]", "boundary_f1": "boundary F1"}
COLUMNS = METRICS | {"thin_selected": "thin things selected", "thin": "their error"}

Setting = Callable[[], AbstractContextManager[None]]
"""What it differs in is so within the context."""


def run(script: str, description: str, heading: str, settings: Callable[[SparseRefiner], Mapping[str, Setting]]) -> int:
    """An ablation's command: measure, print a table per set, write the JSON. Returns the exit status.

    script: its name; heading: what its settings are; settings: by name, of the refiner that is measured."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FRAMES=COARSE[=ALIGN]")
    parser.add_argument("--refiner", type=Path, metavar="FILE", help="a checkpoint; default: the bundled one")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    try:
        refiner = load_sparse_refiner(args.refiner, torch.device("cpu"), precision="float32")
        sets = by_setting(refiner, args.sets, settings(refiner))
    except (DepthRetrofitError, ValueError) as error:
        print(f"{script}: error: {error}", file=sys.stderr)
        return 2
    report(sets, heading, args.json)
    return 0


def by_setting(refiner: Refiner[Any], sets: Sequence[str], settings: Mapping[str, Setting]) -> dict[str, dict[str, Figures]]:
    """By set and setting ``COLUMNS`` of the refined depth at a tenth of the pixels, means over the frames. Of thin things, the
    share that is selected and ``log_error_selected`` as in the report of ``evaluate``.

    sets: NAME=FRAMES=COARSE or NAME=FRAMES=COARSE=ALIGN, frames and coarse maps as ``depth-retrofit evaluate FRAMES --coarse
    COARSE --align ALIGN`` takes them, median unless given. Raises ValueError for an alignment that there is not."""
    return {name: _of_set(refiner, *where, settings) for name, where in map(_parsed, sets)}


def _parsed(item: str) -> tuple[str, tuple[Path, Path, Mode]]:
    name, frames, coarse, *align = item.split("=")
    return name, (Path(frames), Path(coarse), mode(*(align or ["median"])))


def _of_set(refiner: Refiner[Any], frames: Path, coarse: Path, align: Mode, settings: Mapping[str, Setting]) -> dict[str, Figures]:
    evaluator = Evaluator(refiner, BUDGET, align, upsamplers=("bilinear",), timed=False)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in settings}
    for pair in find_pairs(frames):
        sample, stored = read_pair(pair), read_stored(stored_path(coarse, pair.name), torch.device("cpu"))
        for name, setting in settings.items():
            with setting():
                found[name].append(_entry(evaluator(sample, stored)))
        print(f"{coarse.name}: {pair.name}", flush=True)
    return {name: _means(entries) for name, entries in found.items()}


def _entry(result: Evaluated) -> dict[str, Any]:
    refined = result.methods["refined"]
    assert refined is not None, "it always refines"
    return {"refined": refined, "classes": class_entry(result)}


def _means(entries: Sequence[dict[str, Any]]) -> Figures:
    thin = mean_classes(entries)["thin"]
    of_classes = {"thin_selected": thin["selected"], "thin": thin["log_error_selected"]["refined"]}
    return {key: fmean(entry["refined"][key] for entry in entries) for key in METRICS} | of_classes


def mode(text: str) -> Mode:
    """How depth is aligned, of what ``evaluate --align`` takes; raises ValueError."""
    for known in get_args(Mode):
        if text == known:
            return cast("Mode", known)
    raise ValueError(f"{text!r} is no alignment: give one of {', '.join(get_args(Mode))}")


def report(sets: Mapping[str, Mapping[str, Figures]], setting: str, out: Path | None) -> None:
    """Print a table of ``COLUMNS`` per set, a row per setting; write all to ``out``. setting: what the rows are."""
    for name, rows in sets.items():
        print(f"\n| {name}: {setting} | " + " | ".join(COLUMNS.values()) + " |")
        print("|---" * (len(COLUMNS) + 1) + "|")
        for row, figures in rows.items():
            print(f"| {row} | " + " | ".join(f"{figures[key]:.4f}" for key in COLUMNS) + " |")
    if out is not None:
        out.write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")
