#!/usr/bin/env python3
"""What it is worth to prefer the nearer surface: a refiner's logits shifted by each candidate's place in depth, nothing else.

    python benchmarks/ablate_nearness.py another_518=FRAMES=COARSE another_256=FRAMES=COARSE2 --refiner REFINER.safetensors
        --json benchmarks/results/ablate_nearness.json

NAME=FRAMES=COARSE or NAME=FRAMES=COARSE=scale-shift: frames and coarse maps, as ``depth-retrofit evaluate FRAMES --coarse
COARSE --align scale-shift`` takes them. A refiner that has learnt what it is measured by is best at 0. Figures: means over the
frames of a set at a tenth of the pixels; of thin things, L1 of ln depth over their selected pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import Evaluated, Evaluator, Figures
from depth_retrofit_ros.evaluation.metrics.alignment import Mode
from depth_retrofit_ros.evaluation.metrics.classes import CLASSES
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner, load_sparse_refiner

SHIFTS = (-0.3, 0.0, 0.2, 0.5, 0.8, 1.2)  # of the logits per unit of place, towards the near
COLUMNS = {
    "edge_abs_rel": "AbsRel at edges",
    "flat_abs_rel": "elsewhere",
    "see": "SEE [m]",
    "boundary_f1": "boundary F1",
    "thin": "thin things",
}


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


def of_thin(found: Evaluated) -> tuple[float, int]:
    """Sum of the L1 errors of ln depth at the selected pixels of thin things, and the number of these."""
    at = np.isfinite(found.truth) & found.selected & (found.classes == list(CLASSES).index("thin"))
    return float(np.abs(np.log(found.maps["refined"][at]) - np.log(found.truth[at])).sum()), int(at.sum())


def of_set(refiner: SparseRefiner, frames: Path, coarse: Path, align: Mode) -> dict[str, Figures]:
    """By shift, the means over all frames."""
    rows: dict[str, Figures] = {}
    evaluator = Evaluator(refiner, 0.1, align, upsamplers=("bilinear",), timed=False)
    for shift in SHIFTS:
        figures, thin = [], []
        for pair in find_pairs(frames):
            with nearer(refiner, shift):
                found = evaluator(read_pair(pair), read_stored(stored_path(coarse, pair.name), torch.device("cpu")))
            refined = found.methods["refined"]
            assert refined is not None, "it always refines"
            figures.append(refined)
            thin.append(of_thin(found))
        rows[f"{shift:g}"] = {key: fmean(of[key] for of in figures) for key in COLUMNS if key != "thin"}
        rows[f"{shift:g}"]["thin"] = sum(error for error, _ in thin) / max(1, sum(count for _, count in thin))
        print(f"{coarse.name}: {shift:g}", flush=True)
    return rows


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
            sets[name] = of_set(refiner, Path(frames), Path(coarse), "scale-shift" if align == ["scale-shift"] else "median")
    except (DepthRetrofitError, ValueError) as error:
        print(f"ablate_nearness: error: {error}", file=sys.stderr)
        return 2
    for name, rows in sets.items():
        print(f"\n| {name}: shift | " + " | ".join(COLUMNS.values()) + " |")
        print("|---" * (len(COLUMNS) + 1) + "|")
        for setting, figures in rows.items():
            print(f"| {setting} | " + " | ".join(f"{figures[key]:.4f}" for key in COLUMNS) + " |")
    if args.json is not None:
        args.json.write_text(json.dumps(sets, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
