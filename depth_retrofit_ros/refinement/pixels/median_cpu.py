"""``median.color_median_by_torch`` in one compiled pass: pixels side by side are done at once, one in each lane of a vector. Their
neighbours are read as vectors too, and all weights stay in the first-level cache."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.refinement.pixels.vectors import LANES, Vectors

BLOCK = 4096  # pixels that a thread takes at once
INFINITE = float("inf")


@intrinsic(prefer_literal=True)
def median_of_neighbors(
    typing_context: Any,
    around: Any,
    colors: Any,
    weights: Any,
    out: Any,
    farthest: Any,
    per_unit: Any,
    reach: Any,
    halvings: Any,
) -> tuple[Any, Callable[..., Any]] | None:
    """Of ``LANES`` pixels side by side; see ``fill_medians``.

    around ``float32 [side · span]`` with side = 2 · reach + 1 and span = LANES + 2 · reach: depths; colors ``float32 [3 · side ·
    span]``; weights ``float32 [side² · LANES]``: to work in; filled: out ``float32 [LANES]``, infinite where nothing is known.
    """
    if not all(isinstance(argument, types.IntegerLiteral) for argument in (reach, halvings)):
        return None
    radius, steps = reach.literal_value, halvings.literal_value
    side, span = 2 * radius + 1, LANES + 2 * radius

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Vectors(builder, LANES)
        depths, shades, told, result = (
            context.make_array(array)(context, builder, value).data
            for array, value in zip(signature.args[:4], args[:4], strict=True)
        )
        places = [(tap, tap // side * span + tap % side) for tap in range(side * side)]
        zero, infinite, farthest_color, units = v.same(0.0), v.same(INFINITE), v.same(args[4]), v.same(args[5])
        own = [v.load(shades, channel * side * span + radius * span + radius) for channel in range(3)]
        low, high, total = infinite, zero, zero
        for tap, place in places:
            value, apart = v.load(depths, place), zero
            for channel in range(3):
                step = builder.fsub(v.load(shades, channel * side * span + place), own[channel])
                apart = v.call("fmuladd", step, step, apart)
            like = v.higher(builder.fsub(farthest_color, apart), zero)
            counted = v.call("floor", builder.fmul(builder.fmul(like, like), units))
            known = builder.and_(builder.fcmp_ordered("<", value, infinite), builder.fcmp_ordered(">", counted, zero))
            weight = builder.select(known, counted, zero)
            v.store(weight, told, tap * LANES)
            total = builder.fadd(total, weight)
            low = v.lower(builder.select(known, value, infinite), low)
            high = v.higher(builder.select(known, value, zero), high)
        half, once = builder.fmul(total, v.same(0.5)), ir.Constant(v.whole, [1] * LANES)
        least, high = low, builder.bitcast(builder.fdiv(high, low), v.whole)
        low = builder.sub(builder.bitcast(v.same(1.0), v.whole), once)
        for _ in range(steps):
            middle = builder.add(low, builder.ashr(builder.sub(high, low), once))
            bound, under = builder.fmul(least, builder.bitcast(middle, v.type)), zero
            for tap, place in places:
                counts = builder.fcmp_ordered("<=", v.load(depths, place), bound)
                under = builder.fadd(under, builder.select(counts, v.load(told, tap * LANES), zero))
            enough = builder.fcmp_ordered(">=", under, half)
            low, high = builder.select(enough, low, middle), builder.select(enough, middle, high)
        bound = builder.fmul(least, builder.bitcast(low, v.type))
        found = infinite
        for tap, place in places:
            value = v.load(depths, place)
            above = builder.fcmp_ordered(">", value, bound)
            counts = builder.and_(above, builder.fcmp_ordered(">", v.load(told, tap * LANES), zero))
            found = v.lower(builder.select(counts, value, infinite), found)
        v.store(found, result, 0)
        return context.get_dummy_value()

    floats = (around, colors, weights, out, types.float32, types.float32)
    return types.none(*floats, reach, halvings), generate


@functools.cache
def median_kernel(reach: int, halvings: int) -> Callable[..., None]:
    """For a ``REACH`` and ``HALVINGS``: constants to the compiler; and as part of a closure, constants that the cache of compiled
    kernels knows."""
    lanes, side, span = LANES, 2 * reach + 1, LANES + 2 * reach

    @cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"}, error_model="numpy")
    def fill_medians(
        depth: np.ndarray,
        image: np.ndarray,
        indices: np.ndarray,
        out: np.ndarray,
        farthest: float,
        per_unit: float,
        counter: np.ndarray,
    ) -> None:
        """depth ``float32 [H, W]``, image ``uint8 [H, W, 3]``, indices ``int64 [K]``, rising; filled: out ``float32 [K]``;
        farthest: ``FARTHEST_COLOR``²; per_unit: 1 / ``UNIT``.

        Each thread takes its blocks of pixels from ``counter`` (``fetch_add``), so several can call it with the same arguments.
        """
        height, width = depth.shape
        around, colors = np.empty((side, span), np.float32), np.empty((3, side, span), np.float32)
        weights, found = np.empty(side * side * lanes, np.float32), np.empty(lanes, np.float32)
        while True:
            start = fetch_add(counter, BLOCK)
            if start >= indices.size:
                return
            end = min(start + BLOCK, indices.size)
            while start < end:
                first = indices[start]
                y, left = first // width - reach, first % width - reach
                stop = start + 1
                while stop < end and indices[stop] - first < min(lanes, width - left - reach):
                    stop += 1
                for row in range(side):
                    for column in range(span):
                        if 0 <= y + row < height and 0 <= left + column < width:
                            around[row, column] = depth[y + row, left + column]
                            for c in range(3):
                                colors[c, row, column] = image[y + row, left + column, c]
                        else:
                            around[row, column] = np.nan
                            for c in range(3):
                                colors[c, row, column] = 0
                median_of_neighbors(around, colors, weights, found, farthest, per_unit, reach, halvings)
                for place in range(start, stop):
                    i = indices[place] - first
                    own = around[reach, i + reach]
                    out[place] = found[i] if own < INFINITE else own
                start = stop

    return fill_medians
