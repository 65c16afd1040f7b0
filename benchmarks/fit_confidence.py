#!/usr/bin/env python3
"""Fit the confidence table on the views of a pool of rendered scenes (``depth-retrofit train refiner`` renders pools).

Each view is a frame of its own, with a simulated coarse map or a model's answer, refined at a random budget by the bundled refiner.
Models answer scenes of which they, and the refiner, were not trained.

    python benchmarks/fit_confidence.py POOL --patterns "0001_0*" "0001_thin2_*" --models compact --model-patterns "0900_*" \\
        --out depth_retrofit_ros/weights/confidence.json
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

import torch

from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.training.confidence import fit_table

SEED = 5


def main() -> int:
    """Fit, and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path, help="folder of the scenes")
    parser.add_argument("--patterns", nargs="+", default=["*.npz"], help="of the scenes' files, each taken alike")
    parser.add_argument("--each", type=int, default=40, help="scenes of each pattern at most")
    parser.add_argument("--models", nargs="*", default=[], help="coarse models beside the simulated ones")
    parser.add_argument("--model-patterns", nargs="*", default=[], help="of the files of scenes that each of these answers")
    parser.add_argument("--count", type=int, default=1000, help="pixels of each kind and frame")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    args = parser.parse_args()
    try:
        files, answered = (
            [path for pattern in patterns for path in sorted(args.pool.glob(pattern))[: args.each]]
            for patterns in (args.patterns, args.model_patterns)
        )
        models = [load_coarse(name, weights=None, device="cpu") for name in args.models]
        refiner = load_refiner(None, torch.device("cpu"))
        draws = [(path, None) for path in files] + [(path, model) for model in models for path in answered]
        table = fit_table(draws, refiner, SEED, args.count, lambda done: tell(done, len(draws)))
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    made = {
        "date": date.today().isoformat(),
        "simulated": {"frames": len(files), "scenes": args.patterns},
        "models": {"frames": len(answered), "scenes": args.model_patterns, "names": args.models},
        "pixels_per_kind_and_frame": args.count,
        "refiner": refiner.name,
        "seed": SEED,
    }
    write_text(args.out, json.dumps({"made": made, **table}, indent=1) + "\n")
    return 0


def tell(done: int, count: int) -> None:
    """Now and then."""
    if done % 20 == 0 or done == count:
        print(f"{done} of {count} frames", flush=True)


if __name__ == "__main__":
    sys.exit(main())
