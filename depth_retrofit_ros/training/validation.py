"""What a network is judged by while it is trained: mean losses over held-out batches, the same each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

VALIDATION_SEED = 10_000  # of the draws of held-out batches


@torch.no_grad()
def validated(losses: Callable[[int], Mapping[str, torch.Tensor]], batches: int, error: str = "error") -> dict[str, float]:
    """``val_NAME``: the mean of each of the losses over ``batches`` batches, by index; ``val_left``: that of ``error`` over
    ``coarse``, the share of the coarse error that is left."""
    sums: dict[str, float] = {}
    for index in range(batches):
        for name, value in losses(index).items():
            sums[name] = sums.get(name, 0.0) + float(value) / batches
    return {f"val_{name}": value for name, value in sums.items()} | {"val_left": sums[error] / max(sums["coarse"], math.ulp(0.0))}
