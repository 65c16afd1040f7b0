"""Gate and fusion in one compiled pass, for inference on a CPU: ``fusion.GatedFusion`` is their specification."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.refinement.pixels.vectors import LEAST, LOG2_E, SERIES, as_float

BLOCK = 512  # pixels, whose sums stay in the first-level cache
C6, C5, C4, C3, C2, C1, ONE = (np.float32(term) for term in SERIES)
HALF, PER_LN_2, LOWEST, HIGHEST = np.float32(0.5), np.float32(LOG2_E), np.float32(LEAST), np.float32(-LEAST)


@numba.njit(inline="always")
def exponential(x: float) -> float:
    """exp of float32 x, held between -87 and 87, relative error 2e-7; NaN stays NaN. Compilers make vectors of it."""
    t = min(max(x, LOWEST), HIGHEST) * PER_LN_2
    whole = np.floor(t + HALF)
    f = t - whole
    power = ONE + f * (C1 + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6)))))
    value = power * as_float(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
    return value if x == x else x


@functools.cache
def gate_kernel(level: int, entropy: int) -> Callable[..., None]:
    """For the columns of ``PixelFeatures.rows`` that hold ``level`` and ``entropy``: constants to the compiler; and as part of a
    closure, constants that the cache of compiled kernels knows."""

    @cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
    def fuse(
        rows: np.ndarray,
        change: np.ndarray,
        refined_entropy: np.ndarray,
        coarse: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        last_weight: np.ndarray,
        last_bias: np.ndarray,
        gate: np.ndarray,
        fused: np.ndarray,
        counter: np.ndarray,
    ) -> None:
        """rows: of ``PixelFeatures``; change, refined_entropy, coarse ``float32 [K]``; weight ``[hidden, 4]``, bias ``[hidden]``,
        last_weight ``[1, hidden]``, last_bias ``[1]`` of the gate; filled: gate and fused depth ``float32 [K]``.

        Each thread takes its blocks of pixels from ``counter`` (``fetch_add``), so several can call it with the same arguments.
        """
        levels, entropies, sums = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
        zero = np.float32(0)
        while True:
            start = fetch_add(counter, BLOCK)
            if start >= change.size:
                return
            count = min(BLOCK, change.size - start)
            for j in range(count):
                levels[j], entropies[j], sums[j] = rows[start + j, level], rows[start + j, entropy], last_bias[0]
            changes, refined = change[start : start + count], refined_entropy[start : start + count]
            for h in range(bias.size):
                w0, w1, w2, w3 = weight[h, 0], weight[h, 1], weight[h, 2], weight[h, 3]
                b, out = bias[h], last_weight[0, h]
                for j in range(count):
                    unit = b + w0 * levels[j] + w1 * changes[j] + w2 * entropies[j] + w3 * refined[j]
                    sums[j] += out * (zero if unit < zero else unit)
            for j in range(count):
                share = ONE / (ONE + exponential(-sums[j]))
                gate[start + j] = share
                fused[start + j] = coarse[start + j] * exponential((ONE - share) * changes[j])

    return fuse
