"""``decision.decide_by_torch`` in one compiled pass, for inference on a CPU: nothing of the size [K, candidates] is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.refinement.pixels.vectors import INT32, INT64, LEAST, Vectors, as_float, starts_of

BLOCK = 2048  # pixels
ROOT_HALF = np.int32(0x3F3504F3)  # its bits
ONE, TWO, LN_2 = np.float32(1.0), np.float32(2.0), np.float32(0.69314718)
L3, L5, L7, L9 = (np.float32(1 / n) for n in (3, 5, 7, 9))  # the series of artanh


@intrinsic
def as_bits(typing_context: Any, value: Any) -> tuple[Any, Callable[..., Any]]:
    """The 32 bits of this float32."""
    return types.int32(types.float32), lambda context, builder, signature, args: builder.bitcast(args[0], INT32)


@numba.njit(inline="always")
def logarithm(x: float) -> float:
    """ln of an ordinary float32 x >= 1, absolute error 2e-7."""
    bits = as_bits(x)
    exponent = np.int32((bits - ROOT_HALF) >> np.int32(23))
    f = as_float(np.int32(bits - np.int32(exponent << np.int32(23)))) - ONE  # of x's fraction, from √½ to √2
    s = f / (f + TWO)
    z = s * s
    return np.float32(exponent) * LN_2 + TWO * s * (ONE + z * (L3 + z * (L5 + z * (L7 + z * L9))))


@intrinsic(prefer_literal=True)
def decide_pixel(
    typing_context: Any,
    out: Any,
    rows: Any,
    pixel: Any,
    place_scale: Any,
    farthest: Any,
    count: Any,
    outputs: Any,
    channels: Any,
    candidates: Any,
    colors: Any,
) -> tuple[Any, Callable[..., Any]] | None:
    """Of one pixel: the sum of exp(logit − highest), and the same weighted with the candidates and with logit − highest.

    See ``decision_kernel``; outputs and channels: columns of out and rows; the last five arguments are constants.
    """
    if not all(isinstance(argument, types.IntegerLiteral) for argument in (count, outputs, channels, candidates, colors)):
        return None
    length = count.literal_value
    lanes, starts = starts_of(length)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Vectors(builder, lanes)

        def row(index: int, width: int) -> Any:
            data = context.make_array(signature.args[index])(context, builder, args[index]).data
            return builder.gep(data, [builder.mul(args[2], INT64(width))])

        out_at, row_at = row(0, outputs.literal_value), row(1, channels.literal_value)
        linear, square, color = (v.same(builder.load(builder.gep(out_at, [INT64(length + term)]))) for term in range(3))
        scale, far = v.same(args[3]), v.same(args[4])
        near = builder.fsub(v.same(-0.0), far)
        places, logits, highest = [], [], None
        for start in starts:
            place = v.load(row_at, candidates.literal_value + start)
            distance = v.load(row_at, colors.literal_value + start)
            places.append(place)
            scaled = v.lower(v.higher(builder.fmul(place, scale), near), far)
            told = v.call("fmuladd", color, distance, v.load(out_at, start))
            logit = v.call("fmuladd", v.call("fmuladd", square, scaled, linear), scaled, told)
            logits.append(logit)
            highest = logit if highest is None else v.higher(highest, logit)
        top = v.same(v.reduced(v.higher, highest))
        sums = [v.same(0.0)] * 3
        for index, (start, logit, place) in enumerate(zip(starts, logits, places, strict=True)):
            below = builder.fsub(logit, top)
            below = builder.select(builder.fcmp_ordered("<", below, v.same(LEAST)), v.same(LEAST), below)
            weight = v.exponential(below)
            if index and start < starts[index - 1] + lanes:  # what the vector before has counted
                fresh = [ir.IntType(1)(lane >= starts[index - 1] + lanes - start) for lane in range(lanes)]
                weight = builder.select(ir.Constant(ir.VectorType(ir.IntType(1), lanes), fresh), weight, v.same(0.0))
                place = builder.select(ir.Constant(ir.VectorType(ir.IntType(1), lanes), fresh), place, v.same(0.0))
            sums[0] = builder.fadd(sums[0], weight)
            sums[1] = v.call("fmuladd", weight, place, sums[1])
            sums[2] = v.call("fmuladd", weight, below, sums[2])
        return cgutils.pack_array(builder, [v.reduced(builder.fadd, part) for part in sums])

    result = types.UniTuple(types.float32, 3)
    return result(out, rows, types.intp, types.float32, types.float32, count, outputs, channels, candidates, colors), generate


@functools.cache
def decision_kernel(count: int, channels: int, candidates: int, colors: int) -> Callable[..., None]:
    """For ``count`` candidates, whose log ratios and colour distances begin at these columns of ``PixelFeatures.rows``, which has
    ``channels``. Constants to the compiler; and as part of a closure, constants that the cache of compiled kernels knows."""
    outputs = count + 4

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
        totals, belows = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
        while True:
            start = fetch_add(counter, BLOCK)
            if start >= change.size:
                return
            end = min(start + BLOCK, change.size)
            for i in range(start, end):
                total, mean, below = decide_pixel(out, rows, i, place_scale, farthest, count, outputs, channels, candidates, colors)
                change[i] = mean / total + residual_scale * out[i, count + 3]
                totals[i - start], belows[i - start] = total, below
            for i in range(start, end):  # by itself, because compilers make vectors of it
                entropy[i] = logarithm(totals[i - start]) - belows[i - start] / totals[i - start]

    return decide
