#!/usr/bin/env python3
"""What it is worth to prefer the nearer surface: a refiner's logits shifted by each candidate's place in depth, nothing else.

    python benchmarks/ablate_nearness.py another_518=FRAMES=COARSE another_256=FRAMES=COARSE2 --refiner REFINER.safetensors
        --json benchmarks/results/ablate_nearness.json

NAME=FRAMES=COARSE or NAME=FRAMES=COARSE=scale-shift: frames and coarse maps, as ``depth-retrofit evaluate FRAMES --coarse
COARSE --align scale-shift`` takes them. A refiner that has learnt what it is measured by is best at 0. Figures: means over the
frames of a set at a tenth of the pixels; of thin things, ``log_error_selected`` as in the report of ``evaluate``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import cast, get_args

import torch
from set_tables import report

from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import Evaluator, Figures
from depth_retrofit_ros.evaluation.metrics.alignment import Mode
from depth_retrofit_ros.evaluation.report.gains import Entry, class_entry, mean_classes
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner, load_sparse_refiner

SHIFTS = (-0.3, 0.0, 0.2, 0.5, 0.8, 1.2)  # of the logits per unit of place, towards the near
METRICS = {"edge_abs_rel": "AbsRel at edges", "flat_abs_rel": "elsewhere", "see": "SEE [m]", "boundary_f1": "boundary F1"}
COLUMNS = METRICS | {"thin": "thin things"}


@contextmanager
def nearer(refiner: SparseRefiner, shift: float) -> Iterator[None]:
    """Within, each candidate's logit is lower by ``shift`` times its place."""
    bias = refiner.network.unet.head.bias
    before = bias.detach().clone()
    with torch.no_grad():
        bias[COUNT] -= shift
    try:
        yield
    finally:
        with torch.no_grad():
            bias.copy_(before)


def of_set(refiner: SparseRefiner, frames: Path, coarse: Path, align: Mode) -> dict[str, Figures]:
    """By shift, the means over all frames."""
    found: dict[str, list[Figures]] = {f"{shift:g}": [] for shift in SHIFTS}
    classes: dict[str, list[Entry]] = {name: [] for name in found}
    evaluator = Evaluator(refiner, 0.1, align, upsamplers=("bilinear",), timed=False)
    for pair in find_pairs(frames):
        sample, stored = read_pair(pair), read_stored(stored_path(coarse, pair.name), torch.device("cpu"))
        for name, shift in zip(found, SHIFTS, strict=True):
            with nearer(refiner, shift):
                result = evaluator(sample, stored)
            refined = result.methods["refined"]
            assert refined is not None, "it always refines"
            found[name].append(refined)
            classes[name].append({"classes": class_entry(result)})
        print(f"{coarse.name}: {pair.name}", flush=True)
    return {
        name: {key: fmean(figures[key] for figures in of) for key in METRICS}
        | {"thin": mean_classes(classes[name])["thin"]["log_error_selected"]["refined"]}
        for name, of in found.items()
    }


def mode(text: str) -> Mode:
    """How depth is aligned, of what ``evaluate --align`` takes; raises ValueError."""
    for known in get_args(Mode):
        if text == known:
            return cast("Mode", known)
    raise ValueError(f"{text!r} is no alignment: give one of {', '.join(get_args(Mode))}")


def main() -> int:
    """Measure, print a table per set, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FRAMES=COARSE[=ALIGN]")
    parser.add_argument("--refiner", type=Path, metavar="FILE", help="a checkpoint; default: the bundled one")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    sets: dict[str, dict[str, Figures]] = {}
    try:
        refiner = load_sparse_refiner(args.refiner, torch.device("cpu"), precision="float32")
        for item in args.sets:
            name, frames, coarse, *align = item.split("=")
            sets[name] = of_set(refiner, Path(frames), Path(coarse), mode(*(align or ["median"])))
    except (DepthRetrofitError, ValueError) as error:
        print(f"ablate_nearness: error: {error}", file=sys.stderr)
        return 2
    report(sets, "shift", COLUMNS, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
