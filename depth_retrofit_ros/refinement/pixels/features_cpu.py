"""``features.features_by_torch`` in one compiled pass, for the CPU: every pixel's features are written once, into one row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.refinement.pixels.vectors import INT32, INT64, Vectors, starts_of
from depth_retrofit_ros.upsampling.interpolation import Table

BLOCK = 2048  # pixels


@cached_njit(nogil=True)
def fill_colors(image: np.ndarray, indices: np.ndarray, out: np.ndarray, next_block: np.ndarray) -> None:
    """``features.normalized`` of the pixels at indices ``int64 [K]`` of an image ``uint8 [H · W, 3]`` → out ``float32 [K, 3]``.

    Each thread takes its blocks of pixels from ``next_block`` (``fetch_add``).
    """
    middle, scale = np.float32(127.5), np.float32(1 / 64)
    while True:
        start = fetch_add(next_block, BLOCK)
        if start >= indices.size:
            return
        for i in range(start, min(start + BLOCK, indices.size)):
            for channel in range(3):
                out[i, channel] = (np.float32(image[indices[i], channel]) - middle) * scale


@intrinsic(prefer_literal=True)
def write_surfaces(
    typing_context: Any,
    out: Any,
    pixel: Any,
    values: Any,
    corners: Any,
    weights: Any,
    colors: Any,
    cell: Any,
    rgb: Any,
    log_depth: Any,
    surfaces: Any,
    candidates: Any,
    distances: Any,
    channels: Any,
) -> tuple[Any, Callable[..., Any]] | None:
    """The candidates that cells show, and their colour distances, into a row of ``out [K, channels]``, where the two columns after
    each of them may be written too; returns (score, ln depth) sampled.

    values ``float32 [h, w, surfaces + 2]``, sampled at four corners, flat indices into ``h·w``, with four weights; colors ``float32
    [h, w, 3, surfaces]`` at the flat index of a cell; rgb: three numbers; the last four arguments are constants.
    """
    constants = surfaces, candidates, distances, channels
    if not all(isinstance(argument, types.IntegerLiteral) for argument in constants):
        return None
    count, to_candidates, to_distances, width = (argument.literal_value for argument in constants)
    third = 1 / 3

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out_at, values_at, colors_at = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2, 5))
        row = builder.gep(out_at, [builder.mul(args[1], INT64(width))])

        lanes, starts = starts_of(count + 2)
        v = Vectors(builder, lanes)
        places = [
            builder.gep(values_at, [builder.mul(corner, INT64(count + 2))]) for corner in cgutils.unpack_tuple(builder, args[3])
        ]
        shares = [v.same(weight) for weight in cgutils.unpack_tuple(builder, args[4])]
        sampled = []
        for start in starts:
            total = builder.fmul(shares[0], v.load(places[0], start))
            for share, place in zip(shares[1:], places[1:], strict=True):
                total = v.call("fmuladd", share, v.load(place, start), total)
            sampled.append(total)
        score, depth = (builder.extract_element(sampled[-1], INT32(lanes - 2 + lane)) for lane in (0, 1))
        shift = v.same(builder.fsub(depth, args[8]))
        for start, part in zip(starts, sampled, strict=True):
            v.store(builder.fadd(part, shift), row, to_candidates + start)

        lanes, starts = starts_of(count)
        v = Vectors(builder, lanes)
        table = builder.gep(colors_at, [builder.mul(args[6], INT64(3 * count))])
        own = [v.same(part) for part in cgutils.unpack_tuple(builder, args[7])]
        for start in starts:
            off = [v.call("fabs", builder.fsub(v.load(table, axis * count + start), own[axis])) for axis in range(3)]
            distance = builder.fmul(builder.fadd(builder.fadd(off[0], off[1]), off[2]), v.same(third))
            v.store(distance, row, to_distances + start)
        return cgutils.pack_array(builder, [score, depth])

    four, three = types.UniTuple(types.int64, 4), types.UniTuple(types.float32, 3)
    arguments = (out, types.int64, values, four, types.UniTuple(types.float32, 4), colors, types.int64, three, types.float32)
    return types.UniTuple(types.float32, 2)(*arguments, *constants), generate


@functools.cache
def assembly_kernel(
    surfaces: int, starts: tuple[int, int, int, int, int], mixture: tuple[int, float, float], farthest: float
) -> Callable[..., None]:
    """For ``surfaces`` candidates that a cell shows, followed by its mixtures (``mixtures.MIXTURE_LAYOUT``), which are at most
    ``farthest`` in ln depth from the coarse depth; starts: the columns at which the parts of ``PixelFeatures.rows`` begin, colours
    at 0.

    Constants to the compiler; and as part of a closure, constants that the cache of compiled kernels knows.
    """
    candidates, distances, entropy, level, grid = starts
    count, channels = surfaces, grid + 3
    windows = mixture[0]
    least_share, least_contrast, far_off, third = (np.float32(v) for v in (*mixture[1:], farthest, 1 / 3))
    zero, one = np.float32(0), np.float32(1)

    @cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz", "reassoc"})
    def assemble(
        rgb: np.ndarray,
        values: np.ndarray,
        colors: np.ndarray,
        mixtures: np.ndarray,
        log_depth: np.ndarray,
        log_median: float,
        cell_size: float,
        indices: np.ndarray,
        grids: tuple[Table, Table],
        cells: tuple[Table, Table],
        out: np.ndarray,
        next_block: np.ndarray,
    ) -> None:
        """rgb ``float32 [K, 3]``; values ``[h, w, surfaces + 2]``; colors ``[h, w, 3, surfaces]``; mixtures ``[h, w, CHANNELS]``;
        log_depth ``[K]`` of the upsampled depth; cell_size: the last of ``grid``; indices ``int64 [K]``; grids, cells: of rows and
        columns, see ``bilinear_table`` and ``cell_table`` → out ``float32 [K, IN_CHANNELS]``, in the order of ``PixelFeatures``.

        Each thread takes its blocks of pixels from ``next_block`` (``fetch_add``), so several can call it with the same arguments.
        """
        low_h, low_w = values.shape[:2]
        (tops, downs), (lefts, acrosses) = grids
        (cell_rows, ys), (cell_columns, xs) = cells
        width = np.int32(lefts.size)
        while True:
            start = fetch_add(next_block, BLOCK)
            if start >= indices.size:
                return
            for i in range(start, min(start + BLOCK, indices.size)):
                index = np.int32(indices[i])
                y = index // width
                x = index - y * width
                top, left, down, across = tops[y], lefts[x], downs[y], acrosses[x]
                bottom, right = min(top + 1, low_h - 1), min(left + 1, low_w - 1)
                corners = top * low_w + left, top * low_w + right, bottom * low_w + left, bottom * low_w + right
                shares = (one - down) * (one - across), (one - down) * across, down * (one - across), down * across
                red, green, blue = rgb[i, 0], rgb[i, 1], rgb[i, 2]
                own, here = (red, green, blue), cell_rows[y] * low_w + cell_columns[x]
                score, _ = write_surfaces(
                    out, i, values, corners, shares, colors, here, own, log_depth[i], surfaces, candidates, distances, channels
                )
                line = out[i]
                line[0], line[1], line[2] = own
                line[candidates] = 0
                cell = mixtures[cell_rows[y], cell_columns[x]]
                for k in range(windows):
                    part = cell[8 * k : 8 * k + 8]
                    own_r, own_g, own_b = red - part[1], green - part[2], blue - part[3]
                    across = own_r * part[5] + own_g * part[6] + own_b * part[7]
                    share = across / max(own_r * own_r + own_g * own_g + own_b * own_b, least_contrast)
                    share = min(max(share, least_share), one)
                    line[candidates + count + k] = zero - np.log(part[0] + part[4] / share)
                    off = abs(part[5] - share * own_r) + abs(part[6] - share * own_g) + abs(part[7] - share * own_b)
                    line[distances + count + k] = off * third
                rest, k = cell[8 * windows :], count + windows
                line[candidates + k], line[candidates + k + 1], line[candidates + k + 2] = rest[0], rest[8], rest[4]
                off = (abs(rest[1] - red) + abs(rest[2] - green) + abs(rest[3] - blue)) * third
                line[distances + k] = line[distances + k + 1] = off
                line[distances + k + 2] = (abs(rest[5] - red) + abs(rest[6] - green) + abs(rest[7] - blue)) * third
                for k in range(count, count + windows + 3):
                    ratio = line[candidates + k] - log_depth[i]
                    line[candidates + k] = min(max(ratio, -far_off), far_off)
                line[entropy] = min(max(score, np.float32(-3)), np.float32(6))
                line[level] = log_depth[i] - log_median
                line[grid], line[grid + 1], line[grid + 2] = ys[y], xs[x], cell_size

    return assemble
