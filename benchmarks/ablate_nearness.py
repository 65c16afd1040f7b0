#!/usr/bin/env python3
"""What it is worth to prefer the nearer surface: a refiner's logits shifted by each candidate's place in depth, nothing else.

    python benchmarks/ablate_nearness.py another_518=FRAMES=COARSE another_256=FRAMES=COARSE2 --refiner REFINER.safetensors
        --json benchmarks/results/ablate_nearness.json

Sets: see ``set_tables.by_setting``. A refiner that has learnt what it is measured by is best at 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import set_tables
import torch

from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner

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


def settings(refiner: SparseRefiner) -> Mapping[str, set_tables.Setting]:
    """By name, as ``set_tables.run`` takes them."""
    return {f"{shift:g}": partial(nearer, refiner, shift) for shift in SHIFTS}


if __name__ == "__main__":
    sys.exit(set_tables.run("ablate_nearness", __doc__, "shift", settings))
