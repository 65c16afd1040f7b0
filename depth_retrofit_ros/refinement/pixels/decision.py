"""``RefinerNet.decide`` in one compiled pass, for inference on a CPU: nothing of the size [K, candidates] is made in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import THREAD_POOL, fetch_add
from depth_retrofit_ros.refinement.pixels.features import PixelFeatures, start_of

BLOCK = 2048  # pixels
# candidates.COUNT and where its parts start, in numbers: the cache of compiled kernels notices changes of their own file only.
COUNT, CANDIDATES, COLORS = 22, 3, 25
LOG2_E = np.float32(1.4426950408889634)
LEAST = np.float32(-87.0)  # below, exp is no ordinary float32
# Taylor's series of 2^f; of |f| <= 1/2 the first term left out is 1.2e-7.
C1, C2, C3, C4, C5, C6 = (np.float32(c) for c in (0.69314718, 0.24022651, 0.05550411, 0.00961813, 0.00133336, 0.00015403))


def decide(out: torch.Tensor, features: PixelFeatures, place_scale: float, farthest: float) -> tuple[torch.Tensor, torch.Tensor]:
    """change and entropy, both ``[K]``, of the U-Net's output ``float32 [K, COUNT + 4]``; see ``RefinerNet.decide``."""
    if out.shape[1] != COUNT + 4 or (start_of("candidates"), start_of("colors")) != (CANDIDATES, COLORS):
        raise ValueError(f"compiled for {COUNT} candidates, from columns {CANDIDATES} and {COLORS} on: correct these in this file")
    change, entropy = torch.empty(out.shape[0]), torch.empty(out.shape[0])
    arrays = [array.numpy() for array in (out, features.rows, change, entropy)]
    counter = np.zeros(1, np.int64)
    THREAD_POOL.run(lambda: _decide(*arrays, np.float32(place_scale), np.float32(farthest), counter))
    return change, entropy


@intrinsic
def as_float(typing_context: Any, bits: Any) -> tuple[Any, Callable[..., Any]]:
    """The float32 of these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@numba.njit(inline="always")
def exponential(x: float) -> float:
    """exp of float32 x <= 0, relative error 2e-7; in plain arithmetic, which compilers make vectors of."""
    t = max(x, LEAST) * LOG2_E
    whole = np.floor(t + np.float32(0.5))
    f = t - whole
    power = np.float32(1) + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6)))))
    return power * as_float(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz", "reassoc"})
def _decide(
    out: np.ndarray,
    rows: np.ndarray,
    change: np.ndarray,
    entropy: np.ndarray,
    place_scale: float,
    farthest: float,
    counter: np.ndarray,
) -> None:
    """Blocks of pixels are claimed from ``counter``, so that several threads can call it with the same arguments."""
    logits = np.empty(COUNT, np.float32)
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= change.size:
            return
        for i in range(start, min(start + BLOCK, change.size)):
            linear, square, color = out[i, COUNT], out[i, COUNT + 1], out[i, COUNT + 2]
            highest = np.float32(-np.inf)
            for k in range(COUNT):
                place = min(max(rows[i, CANDIDATES + k] * place_scale, -farthest), farthest)
                logits[k] = out[i, k] + color * rows[i, COLORS + k] + (linear + square * place) * place
                highest = max(highest, logits[k])
            total = mean = below = np.float32(0)
            for k in range(COUNT):
                logit = logits[k] - highest
                weight = exponential(logit)
                total += weight
                mean += weight * rows[i, CANDIDATES + k]
                below += weight * logit
            change[i] = mean / total + np.float32(0.25) * out[i, COUNT + 3]
            entropy[i] = np.log(total) - below / total
