#!/usr/bin/env python3
"""What it is worth to prefer the nearer surface: a refiner's logits shifted by each candidate's place in depth, nothing else.

    python benchmarks/ablate_nearness.py another_518=FRAMES=COARSE another_256=FRAMES=COARSE2 --refiner REFINER.safetensors
        --json benchmarks/results/ablate_nearness.json

Sets: see ``set_tables.by_setting``. A refiner that has learnt what it is measured by is best at 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from set_tables import CLASSED, by_setting, report

from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner, load_sparse_refiner

SHIFTS = (-0.3, 0.0, 0.2, 0.5, 0.8, 1.2)  # of the logits per unit of place, towards the near


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


def main() -> int:
    """Measure, print a table per set, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FRAMES=COARSE[=ALIGN]")
    parser.add_argument("--refiner", type=Path, metavar="FILE", help="a checkpoint; default: the bundled one")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    try:
        refiner = load_sparse_refiner(args.refiner, torch.device("cpu"), precision="float32")
        settings = {f"{shift:g}": partial(nearer, refiner, shift) for shift in SHIFTS}
        sets = by_setting(refiner, args.sets, settings)
    except (DepthRetrofitError, ValueError) as error:
        print(f"ablate_nearness: error: {error}", file=sys.stderr)
        return 2
    report(sets, "shift", CLASSED, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
