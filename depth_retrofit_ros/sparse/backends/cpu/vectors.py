"""The innermost steps of the ``cpu`` backend in LLVM's vector types, because no compiler finds them by itself.

LLVM splits these vectors into what the machine has: one source serves AVX-512, AVX2 and NEON. Arrays of bfloat16 are ``int16`` to
NumPy and Numba, which know no such type; they are multiplied in pairs, by an instruction of AVX-512 alone (``lack_of_bfloat16``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

FLOAT, INT16, INT32, INT64, BYTE = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.IntType(8)
CACHE_LINE = 64  # bytes
MINUS_INFINITY = -0x80  # bits of a bfloat16 as int16; below it are the negative numbers, above it negative NaN
PAIR = 2  # values that one lane multiplies at once in bfloat16
NARROW_REGISTERS = 32 if "aarch64" in llvm.get_process_triple() else 16  # of 128 bits
BFLOAT_LLVM = 16  # the first whose intrinsic for that instruction takes bfloat
PAIRED_ROWS = {1: 16, 2: 9, 3: 7, 4: 6}  # of a tile in bfloat16 by its columns: the fastest of all that fit, on Zen 5


class BFloat(ir.Type):
    """LLVM's ``bfloat``, which llvmlite leaves out."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """lanes: float32 values in a vector register; registers: how many of these the machine has."""

    lanes: int
    registers: int

    def columns(self, outputs: int) -> int:
        """How many vectors wide a tile is for so many outputs: few enough to leave several rows to reuse the weights."""
        return min(-(-outputs // self.lanes), 4 if self.registers == 32 else 2)

    def rows(self, columns: int, paired: bool = False) -> int:
        """How many rows a tile has: its sums take three quarters of the registers, and what is gathered for it stays small. paired:
        in bfloat16, with registers left for the values, each of which several columns need."""
        return PAIRED_ROWS[columns] if paired else min(self.registers * 3 // 4 // columns, 12)


@functools.cache
def target_features() -> frozenset[str]:
    """Of the CPU that Numba compiles for, by LLVM's names: this machine's, or those that ``NUMBA_CPU_FEATURES`` and a ``generic``
    ``NUMBA_CPU_NAME`` leave."""
    listed = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return frozenset(feature[1:] for feature in listed if feature.startswith("+"))


@functools.cache
def vector_unit() -> VectorUnit:
    """That which kernels are compiled for; where nothing is told of it, 128 bits as in SSE2 and NEON."""
    features = target_features()
    if "avx512f" in features:
        return VectorUnit(lanes=16, registers=32)
    if {"avx2", "fma"} <= features:
        return VectorUnit(lanes=8, registers=16)
    return VectorUnit(lanes=4, registers=NARROW_REGISTERS)


@functools.cache
def lack_of_bfloat16() -> str:
    """Why no kernel in bfloat16 can be compiled here; empty where one can."""
    if not {"avx512f", "avx512vl", "avx512bf16"} <= target_features():
        return "the CPU, or what Numba may use of it, has no AVX-512 BF16"
    if llvm.llvm_version_info[0] < BFLOAT_LLVM:
        have = ".".join(map(str, llvm.llvm_version_info))
        return f"this Numba compiles by LLVM {have}, and it needs {BFLOAT_LLVM} or later: update numba to 0.62 or later"
    return ""


@intrinsic(prefer_literal=True)
def multiply_tile(
    typing_context: Any,
    packed: Any,
    weights: Any,
    steps: Any,
    bias: Any,
    tile: Any,
    rows: Any,
    columns: Any,
    lanes: Any,
    stride: Any,
) -> tuple[Any, Callable[..., Any]] | None:
    """``tile = packed[:, :depth] @ weights + bias``, the sums in registers all the time.

    packed: ``[rows, stride]``; weights: ``float32 [steps, columns · lanes]``, depth = steps, or bfloat16 ``[steps, columns · lanes,
    2]``, depth = 2 · steps, and packed of the same type; bias: ``float32 [columns · lanes]``; tile: ``float32 [rows, columns ·
    lanes]``; steps: at least 1; the other numbers are constants.
    """
    if not _constant(rows, columns, lanes, stride):
        return None
    paired = weights.dtype != types.float32
    taken = PAIR if paired else 1  # values of a row in one step
    sum_type = ir.VectorType(FLOAT, lanes.literal_value)
    weight_type = ir.VectorType(BFloat(), PAIR * lanes.literal_value) if paired else sum_type
    places = [(r, c) for r in range(rows.literal_value) for c in range(columns.literal_value)]

    def multiply_add(builder: Any, value: Any, weight: Any, old: Any) -> Any:
        name, operands = "llvm.fmuladd", (value, weight, old)
        if paired:
            name, operands = "llvm.x86.avx512bf16.dpbf16ps.512", (old, weight, value)
        else:
            name += f".v{sum_type.count}f32"
        signature = ir.FunctionType(sum_type, [operand.type for operand in operands])
        return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), operands)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        packed_at, weights_at, bias_at, tile_at = (_data(context, builder, signature.args[i], args[i]) for i in (0, 1, 3, 4))
        start = [_load(builder, sum_type, bias_at, c * sum_type.count) for c in range(columns.literal_value)]
        before, loop, after = builder.block, builder.append_basic_block("depth"), builder.append_basic_block("end")
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(INT64)
        sums = [builder.phi(sum_type) for _ in places]
        weights_row = builder.gep(weights_at, [builder.mul(k, INT64(columns.literal_value * weight_type.count))])
        weight = [_load(builder, weight_type, weights_row, c * weight_type.count) for c in range(columns.literal_value)]
        column = builder.gep(packed_at, [builder.mul(k, INT64(taken))])
        value = []
        for r in range(rows.literal_value):
            one = _load(builder, INT32 if paired else FLOAT, column, r * stride.literal_value)
            everywhere = _broadcast(builder, ir.VectorType(one.type, sum_type.count), one)
            value.append(builder.bitcast(everywhere, weight_type))
        added = [multiply_add(builder, value[r], weight[c], old) for old, (r, c) in zip(sums, places, strict=True)]
        for old, new, (_, c) in zip(sums, added, places, strict=True):
            old.add_incoming(start[c], before)
            old.add_incoming(new, loop)
        following = builder.add(k, INT64(1))
        k.add_incoming(INT64(0), before)
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[2]), loop, after)

        builder.position_at_end(after)
        for i, new in enumerate(added):
            _store(builder, new, tile_at, sum_type.count * i)
        return context.get_dummy_value()

    return types.void(packed, weights, types.intp, bias, tile, rows, columns, lanes, stride), generate


@intrinsic(prefer_literal=True)
def copy_rows(
    typing_context: Any,
    packed: Any,
    offset: Any,
    features: Any,
    row: Any,
    zeros: Any,
    relu: Any,
    channels: Any,
    count: Any,
    lanes: Any,
) -> tuple[Any, Callable[..., Any]] | None:
    """``packed[offset:] = features[row : row + count]``, or zeros where ``row`` is ``len(features)``; no branch between them.

    packed: ``[n]`` and features: ``[N, channels]``, each float32 or bfloat16: what differs is converted; zeros: ``[count ·
    channels]`` as the features; relu: whether to apply ReLU, which NaN passes; the last three arguments are constants.
    """
    if not _constant(channels, count, lanes):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        packed_at = builder.gep(_data(context, builder, signature.args[0], args[0]), [args[1]])
        array = context.make_array(signature.args[2])(context, builder, args[2])
        present = builder.icmp_signed("<", args[3], cgutils.unpack_tuple(builder, array.shape)[0])
        start = builder.gep(array.data, [builder.mul(args[3], INT64(channels.literal_value))])
        source = builder.select(present, start, _data(context, builder, signature.args[4], args[4]))
        paired = INT16 in (packed_at.type.pointee, source.type.pointee)
        for done, size in _pieces(count.literal_value * channels.literal_value, lanes.literal_value * (PAIR if paired else 1)):
            value = _load(builder, ir.VectorType(source.type.pointee, size), source, done)
            _store(builder, _converted(builder, _relu(builder, value, args[5]), packed_at.type.pointee), packed_at, done)
        return context.get_dummy_value()

    return types.void(packed, types.intp, features, types.intp, zeros, types.boolean, channels, count, lanes), generate


@intrinsic(prefer_literal=True)
def write_row(
    typing_context: Any,
    out: Any,
    row: Any,
    left: Any,
    tile: Any,
    tile_row: Any,
    residual: Any,
    adding: Any,
    outputs: Any,
    size: Any,
    lanes: Any,
) -> tuple[Any, Callable[..., Any]] | None:
    """``out[row, left : left + size] = tile[tile_row, :size] + residual[row, left : left + size]``, the sum in float32.

    out, residual: ``[·, outputs]``, float32 or bfloat16, rounded to the nearest; tile: ``float32 [·, width]``; adding: 1 to add the
    residual, 0 to leave it; the last four arguments are constants.
    """
    if not _constant(adding, outputs, size, lanes):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.add(builder.mul(args[1], INT64(outputs.literal_value)), args[2])
        out_at = builder.gep(_data(context, builder, signature.args[0], args[0]), [place])
        residual_at = builder.gep(_data(context, builder, signature.args[5], args[5]), [place])
        array = context.make_array(signature.args[3])(context, builder, args[3])
        width = cgutils.unpack_tuple(builder, array.shape)[1]
        tile_at = builder.gep(array.data, [builder.mul(args[4], width)])
        for done, count in _pieces(size.literal_value, lanes.literal_value):
            value = _load(builder, ir.VectorType(FLOAT, count), tile_at, done)
            if adding.literal_value:
                added = _load(builder, ir.VectorType(residual_at.type.pointee, count), residual_at, done)
                value = builder.fadd(value, _converted(builder, added, FLOAT))
            _store(builder, _converted(builder, value, out_at.type.pointee), out_at, done)
        return context.get_dummy_value()

    signature = types.void(out, types.intp, types.intp, tile, types.intp, residual, adding, outputs, size, lanes)
    return signature, generate


@intrinsic
def entry(typing_context: Any, table: Any, place: Any) -> tuple[Any, Callable[..., Any]]:
    """``table.flat[place]`` of an ``int32`` array; a place from the end, for which Numba looks at each access, is none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(builder.load(builder.gep(_data(context, builder, signature.args[0], args[0]), [args[1]])), INT64)

    return types.int64(table, types.int64), generate


@intrinsic(prefer_literal=True)
def prefetch_row(typing_context: Any, array: Any, row: Any, channels: Any, write: Any) -> tuple[Any, Callable[..., Any]] | None:
    """Have ``array[row]`` in the cache soon; array: ``[N, channels]``, any row; write: 1 to write it; both constants."""
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
        for c in range(0, channels.literal_value, CACHE_LINE * 8 // array.dtype.bitwidth):
            place = builder.bitcast(builder.gep(start, [INT64(c)]), pointer)
            builder.call(prefetch, [place, INT32(write.literal_value), INT32(3), INT32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, channels, write), generate


def _constant(*arguments: Any) -> bool:
    return all(isinstance(argument, types.IntegerLiteral) for argument in arguments)


def _pieces(total: int, largest: int) -> list[tuple[int, int]]:
    """(start, size) of the vectors that cover so many values, and none beyond. All sizes are powers of two, and equal but for the
    last one, which is smaller or, where what is left is no power of two, lies over part of the one before."""
    size = largest
    while size > total:
        size //= 2
    pieces = [(start, size) for start in range(0, total - size + 1, size)]
    left = total % size
    if left:
        last = left if left & (left - 1) == 0 else size
        pieces.append((total - last, last))
    return pieces


def _relu(builder: Any, value: Any, wanted: Any) -> Any:
    """ReLU of a vector of float32 or bfloat16, where it is wanted (a bit); NaN stays NaN."""
    if value.type.element == INT16:
        low = builder.select(wanted, INT16(MINUS_INFINITY), INT16(-0x8000))
        kept = builder.icmp_signed(">", value, _broadcast(builder, value.type, low))
        return builder.select(kept, value, ir.Constant(value.type, [0] * value.type.count))
    low = _broadcast(builder, value.type, builder.select(wanted, FLOAT(0.0), FLOAT(float("-inf"))))
    return builder.select(builder.fcmp_ordered("<", value, low), low, value)


def _converted(builder: Any, value: Any, element: Any) -> Any:
    """A vector of float32 or bfloat16 (as INT16) in the other type, or as it is."""
    if value.type.element == element:
        return value
    if element == INT16:
        rounded = builder.fptrunc(value, ir.VectorType(BFloat(), value.type.count))
        return builder.bitcast(rounded, ir.VectorType(INT16, value.type.count))
    wide = ir.VectorType(INT32, value.type.count)
    bits = builder.shl(builder.zext(value, wide), ir.Constant(wide, [16] * wide.count))
    return builder.bitcast(bits, ir.VectorType(FLOAT, wide.count))


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _load(builder: Any, loaded_type: Any, base: Any, offset: int) -> Any:
    loaded = builder.load(builder.bitcast(builder.gep(base, [INT64(offset)]), loaded_type.as_pointer()))
    loaded.align = _size(base.type.pointee)
    return loaded


def _store(builder: Any, value: Any, base: Any, offset: int) -> None:
    place = builder.bitcast(builder.gep(base, [INT64(offset)]), value.type.as_pointer())
    builder.store(value, place).align = _size(base.type.pointee)


def _size(element: Any) -> int:
    """Bytes of a float32 or bfloat16 (as INT16), which is what arrays of them are aligned to."""
    return 2 if element == INT16 else 4


def _broadcast(builder: Any, vector: ir.VectorType, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, INT32(0))
    everywhere = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), everywhere)
