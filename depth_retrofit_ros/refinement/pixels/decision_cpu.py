"""``decision.decide_by_torch`` in one compiled pass, for inference on a CPU: nothing of the size [K, candidates] is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add

BLOCK = 2048  # pixels
LOG2_E = np.float32(1.4426950408889634)
LEAST = np.float32(-87.0)  # below, exp is no ordinary float32
# Taylor's series of 2^f; of |f| <= 1/2 the first term left out is 1.2e-7.
C1, C2, C3, C4, C5, C6 = (np.float32(c) for c in (0.69314718, 0.24022651, 0.05550411, 0.00961813, 0.00133336, 0.00015403))


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


@functools.cache
def decision_kernel(count: int, candidates: int, colors: int) -> Callable[..., None]:
    """For ``count`` candidates, whose log ratios and colour distances begin at these columns of ``PixelFeatures.rows``. Constants
    to the compiler; and as part of a closure, constants that the cache of compiled kernels knows."""

    @cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz", "reassoc"})
    def decide(
        out: np.ndarray,
        rows: np.ndarray,
        change: np.ndarray,
        entropy: np.ndarray,
        place_scale: float,
        farthest: float,
        residual_scale: float,
        counter: np.ndarray,
    ) -> None:
        """out: ``float32 [K, count + 4]`` of the U-Net; rows: of ``PixelFeatures``; filled: change and entropy ``float32 [K]``.

        Each thread takes its blocks of pixels from ``counter`` (``fetch_add``), so several can call it with the same arguments.
        """
        logits = np.empty(count, np.float32)
        while True:
            start = fetch_add(counter, BLOCK)
            if start >= change.size:
                return
            for i in range(start, min(start + BLOCK, change.size)):
                linear, square, color = out[i, count], out[i, count + 1], out[i, count + 2]
                highest = np.float32(-np.inf)
                for k in range(count):
                    place = min(max(rows[i, candidates + k] * place_scale, -farthest), farthest)
                    logits[k] = out[i, k] + color * rows[i, colors + k] + (linear + square * place) * place
                    highest = max(highest, logits[k])
                total = mean = below = np.float32(0)
                for k in range(count):
                    logit = logits[k] - highest
                    weight = exponential(logit)
                    total += weight
                    mean += weight * rows[i, candidates + k]
                    below += weight * logit
                change[i] = mean / total + residual_scale * out[i, count + 3]
                entropy[i] = np.log(total) - below / total

    return decide
