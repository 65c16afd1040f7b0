"""The compiled kernel of the ``cpu`` backend: gather, matrix product, bias, activation and residual in one pass over the rows.

A few rows are gathered into a buffer that stays in the first-level cache, and multiplied with a block of the weights while their
sums stay in registers; the gathered matrix exists nowhere else. The two innermost steps are written in LLVM's vector types, because
no compiler finds them by itself. LLVM splits these vectors into what the machine has: one source serves AVX-512, AVX2 and NEON.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add

FLOAT, INT32, INT64, BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(8)
CACHE_LINE = 16  # float32 values

WORK = 1 << 22  # multiply-adds that a thread takes at once: some tens of microseconds


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """lanes: float32 values in a vector register; registers: how many of these the machine has."""

    lanes: int
    registers: int

    def columns(self, outputs: int) -> int:
        """How many vectors wide a tile is for so many outputs: few enough to leave several rows to reuse the weights."""
        return min(-(-outputs // self.lanes), 4 if self.registers == 32 else 2)

    def rows(self, columns: int) -> int:
        """How many rows a tile has: its sums take three quarters of the registers, and what is gathered for it stays small."""
        return min(self.registers * 3 // 4 // columns, 12)


@functools.cache
def vector_unit() -> VectorUnit:
    """That of this machine; of one that does not tell, 128 bits as in SSE2 and NEON."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return VectorUnit(lanes=16, registers=32)
    if features.get("avx2") and features.get("fma"):
        return VectorUnit(lanes=8, registers=16)
    return VectorUnit(lanes=4, registers=32 if "aarch64" in llvm.get_process_triple() else 16)


@functools.cache
def block_width(outputs: int) -> int:
    """Columns of a block of weights, into which a matrix with so many outputs is cut (the last one padded with zeros)."""
    unit = vector_unit()
    return unit.columns(outputs) * unit.lanes


@functools.cache
def kernel(channels: int, outputs: int, taps: int) -> Callable[..., None]:
    """The kernel for these sizes, compiled at its first call (a second or less, then cached on disk)."""
    unit = vector_unit()
    columns = unit.columns(outputs)
    stride = 576  # of the rows of the buffer: a constant of the kernel, so only few values
    while stride < taps * channels:
        stride *= 2
    # Not a power of two, which would put all rows into the same few sets of the cache.
    return _kernel(channels, unit.rows(columns), columns, unit.lanes, stride + CACHE_LINE)


@functools.cache
def _kernel(channels: int, rows: int, columns: int, lanes: int, stride: int) -> Callable[..., None]:
    width = columns * lanes

    @cached_njit(nogil=True)
    def convolve(
        features: np.ndarray,
        sources: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray,
        floor: float,
        residual: np.ndarray,
        out: np.ndarray,
        counter: np.ndarray,
    ) -> None:
        """``out[targets[i]] = concat(max(features[sources[i, t]], floor) for all t) @ weights + bias + residual[targets[i]]``.

        features: ``float32 [N, channels]``; sources: ``int32 [count, taps]``, N for a row of zeros; targets: ``int32 [count,
        slots]``, out of range for none; weights: ``[slots, blocks, taps · channels, width]``, bias: ``[blocks, width]``, both
        padded with zeros; residual: as out. Of sources, targets and residual, an empty one means row i for i, and nothing to add.
        counter: ``int64 [1]``, 0 at first: all threads call this with the same arguments, and each takes pieces until none is left.
        """
        slots, blocks, depth, _ = weights.shape
        mapped, scattered, adding = sources.shape[0] > 0, targets.shape[0] > 0, residual.shape[0] > 0
        taps = depth // channels
        count = sources.shape[0] if mapped else features.shape[0]
        packed = np.empty(rows * stride, np.float32)
        tile = np.empty((rows, width), np.float32)
        zeros = np.zeros(channels, np.float32)
        piece = max(1, WORK // (slots * blocks * rows * depth * width)) * rows
        while True:
            begin = fetch_add(counter, piece)
            if begin >= count:
                return
            for first in range(begin, min(begin + piece, count), rows):
                used = min(rows, count - first)
                # What the tile after the next one reads and writes for the first time in a while.
                ahead = first + 2 * rows
                for i in range(ahead, ahead + rows if ahead + rows <= count else ahead):
                    for t in range(max(taps - 2, 0), taps):
                        prefetch_row(features, sources[i, t] if mapped else i, channels, 0)
                    if not scattered and width == out.shape[1]:
                        prefetch_row(out, i, width, 1)
                        if adding:
                            prefetch_row(residual, i, width, 0)
                for r in range(used):
                    for t in range(taps):
                        source = sources[first + r, t] if mapped else first + r
                        copy_row(packed, r * stride + t * channels, features, source, zeros, floor, channels, lanes)
                for slot in range(slots):
                    for block in range(blocks):
                        multiply_tile(packed, weights[slot, block], depth, bias[block], tile, rows, columns, lanes, stride)
                        left = block * width
                        for r in range(used):
                            target = targets[first + r, slot] if scattered else first + r
                            if target >= out.shape[0]:
                                continue
                            for c in range(min(width, out.shape[1] - left)):  # not a function: passing arrays would cost as much
                                value = tile[r, c]
                                if adding:
                                    value += residual[target, left + c]
                                out[target, left + c] = value

    return convolve


@intrinsic(prefer_literal=True)
def multiply_tile(
    typing_context: Any,
    packed: Any,
    weights: Any,
    depth: Any,
    bias: Any,
    tile: Any,
    rows: Any,
    columns: Any,
    lanes: Any,
    stride: Any,
) -> tuple[Any, Callable[..., Any]] | None:
    """``tile = packed[:, :depth] @ weights + bias``, the sums in registers all the time.

    packed: ``float32 [rows, stride]``; weights: ``float32 [depth, columns · lanes]``; bias: ``float32 [columns · lanes]``; tile:
    ``float32 [rows, columns · lanes]``; depth: at least 1; the other numbers are constants.
    """
    if not _constant(rows, columns, lanes, stride):
        return None
    vector = ir.VectorType(FLOAT, lanes.literal_value)
    places = [(r, c) for r in range(rows.literal_value) for c in range(columns.literal_value)]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        packed_at, weights_at, bias_at, tile_at = (_data(context, builder, signature.args[i], args[i]) for i in (0, 1, 3, 4))
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{vector.count}f32"
        )
        start = [_load(builder, vector, bias_at, c * vector.count) for c in range(columns.literal_value)]
        before, loop, after = builder.block, builder.append_basic_block("depth"), builder.append_basic_block("end")
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(INT64)
        sums = [builder.phi(vector) for _ in places]
        weights_row = builder.gep(weights_at, [builder.mul(k, INT64(columns.literal_value * vector.count))])
        weight = [_load(builder, vector, weights_row, c * vector.count) for c in range(columns.literal_value)]
        column = builder.gep(packed_at, [k])
        value = [
            _broadcast(builder, vector, builder.load(builder.gep(column, [INT64(r * stride.literal_value)])))
            for r in range(rows.literal_value)
        ]
        added = [builder.call(multiply_add, [value[r], weight[c], old]) for old, (r, c) in zip(sums, places, strict=True)]
        for old, new, (_, c) in zip(sums, added, places, strict=True):
            old.add_incoming(start[c], before)
            old.add_incoming(new, loop)
        following = builder.add(k, INT64(1))
        k.add_incoming(INT64(0), before)
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[2]), loop, after)

        builder.position_at_end(after)
        for i, new in enumerate(added):
            _store(builder, new, tile_at, vector.count * i)
        return context.get_dummy_value()

    return types.void(packed, weights, types.intp, bias, tile, rows, columns, lanes, stride), generate


@intrinsic(prefer_literal=True)
def copy_row(
    typing_context: Any, packed: Any, offset: Any, features: Any, row: Any, zeros: Any, floor: Any, channels: Any, lanes: Any
) -> tuple[Any, Callable[..., Any]] | None:
    """``packed[offset:] = max(features[row], floor)``, or zeros where ``row`` is ``len(features)``, without a branch between them.

    packed: ``float32 [n]``; features: ``float32 [N, channels]``; zeros: ``float32 [channels]``; floor: 0 or -inf, which absent rows
    pass too; NaN stays NaN; the last two arguments are constants.
    """
    if not _constant(channels, lanes):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        packed_at = builder.gep(_data(context, builder, signature.args[0], args[0]), [args[1]])
        array = context.make_array(signature.args[2])(context, builder, args[2])
        present = builder.icmp_signed("<", args[3], cgutils.unpack_tuple(builder, array.shape)[0])
        start = builder.gep(array.data, [builder.mul(args[3], INT64(channels.literal_value))])
        source = builder.select(present, start, _data(context, builder, signature.args[4], args[4]))
        done, size = 0, lanes.literal_value
        while done < channels.literal_value:
            while size > channels.literal_value - done:
                size //= 2
            vector = ir.VectorType(FLOAT, size)
            low = _broadcast(builder, vector, args[5])
            value = _load(builder, vector, source, done)
            value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
            _store(builder, value, packed_at, done)
            done += size
        return context.get_dummy_value()

    return types.void(packed, types.intp, features, types.intp, zeros, types.float32, channels, lanes), generate


@intrinsic(prefer_literal=True)
def prefetch_row(typing_context: Any, array: Any, row: Any, channels: Any, write: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Have ``array[row]`` in the cache soon; array: ``float32 [N, channels]``, any row; write: 1 to write it; both constants."""
    if not _constant(channels, write):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = BYTE.as_pointer()
        prefetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, INT32, INT32, INT32]), "llvm.prefetch.p0"
        )
        start = builder.gep(
            _data(context, builder, signature.args[0], args[0]), [builder.mul(args[1], INT64(channels.literal_value))]
        )
        for c in range(0, channels.literal_value, CACHE_LINE):
            place = builder.bitcast(builder.gep(start, [INT64(c)]), pointer)
            builder.call(prefetch, [place, INT32(write.literal_value), INT32(3), INT32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, channels, write), generate


def _constant(*arguments: Any) -> bool:
    return all(isinstance(argument, types.IntegerLiteral) for argument in arguments)


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _load(builder: Any, vector: ir.VectorType, base: Any, offset: int) -> Any:
    loaded = builder.load(builder.bitcast(builder.gep(base, [INT64(offset)]), vector.as_pointer()))
    loaded.align = 4
    return loaded


def _store(builder: Any, value: Any, base: Any, offset: int) -> None:
    place = builder.bitcast(builder.gep(base, [INT64(offset)]), value.type.as_pointer())
    builder.store(value, place).align = 4


def _broadcast(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, INT32(0))
    everywhere = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), everywhere)
