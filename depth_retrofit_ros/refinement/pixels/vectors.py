"""Arithmetic on vectors for the compiled passes over pixels, whose short rows no compiler makes vectors of by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
LANES = 16  # LLVM splits them into what the machine has
LOG2_E = 1.4426950408889634
LEAST = -87.0  # below, exp is no ordinary float32
# Taylor's series of 2^f; of |f| <= 1/2 the first term left out is 1.2e-7.
SERIES = (0.00015403, 0.00133336, 0.00961813, 0.05550411, 0.24022651, 0.69314718, 1.0)


@intrinsic
def as_float(typing_context: Any, bits: Any) -> tuple[Any, Callable[..., Any]]:
    """The float32 of these 32 bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(args[0], FLOAT)


def starts_of(length: int) -> tuple[int, list[int]]:
    """Lanes of the vectors that cover ``length`` values, and where each starts; the last one lies over part of the one before."""
    lanes = LANES
    while lanes > length:
        lanes //= 2
    return lanes, [*range(0, length - lanes, lanes), length - lanes]


class Vectors:
    """Arithmetic on vectors of float32 in the code that ``builder`` makes."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.type, self.whole = builder, ir.VectorType(FLOAT, lanes), ir.VectorType(INT32, lanes)

    def same(self, value: Any) -> Any:
        """A number, of the code or of now, in all lanes."""
        if isinstance(value, float):
            return ir.Constant(self.type, [value] * self.type.count)
        first = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), value, INT32(0))
        everywhere = ir.Constant(self.whole, [0] * self.type.count)
        return self.builder.shuffle_vector(first, ir.Constant(self.type, ir.Undefined), everywhere)

    def load(self, base: Any, offset: int) -> Any:
        """From ``base[offset]`` on."""
        loaded = self.builder.load(self.builder.bitcast(self.builder.gep(base, [INT64(offset)]), self.type.as_pointer()))
        loaded.align = 4
        return loaded

    def store(self, value: Any, base: Any, offset: int) -> None:
        """To ``base[offset]`` and on."""
        place = self.builder.bitcast(self.builder.gep(base, [INT64(offset)]), self.type.as_pointer())
        self.builder.store(value, place).align = 4

    def call(self, name: str, *operands: Any) -> Any:
        """An elementwise intrinsic of LLVM."""
        function = ir.FunctionType(self.type, [self.type] * len(operands))
        name = f"llvm.{name}.v{self.type.count}f32"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, function, name), operands)

    def higher(self, a: Any, b: Any) -> Any:
        """The higher one; b where either is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def lower(self, a: Any, b: Any) -> Any:
        """The lower one; b where either is NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def reduced(self, combine: Callable[[Any, Any], Any], vector: Any) -> Any:
        """All lanes combined, by halves. LLVM's own reductions pass NaN with a branch for each lane."""
        step = self.type.count // 2
        while step:
            order = ir.Constant(self.whole, [(lane + step) % self.type.count for lane in range(self.type.count)])
            vector = combine(vector, self.builder.shuffle_vector(vector, ir.Constant(self.type, ir.Undefined), order))
            step //= 2
        return self.builder.extract_element(vector, INT32(0))

    def exponential(self, x: Any) -> Any:
        """exp of x from ``LEAST`` to 0, relative error 2e-7."""
        t = self.builder.fmul(x, self.same(LOG2_E))
        whole = self.call("floor", self.builder.fadd(t, self.same(0.5)))
        f = self.builder.fsub(t, whole)
        power = self.same(SERIES[0])
        for term in SERIES[1:]:
            power = self.call("fmuladd", power, f, self.same(term))
        exponent = self.builder.add(self.builder.fptosi(whole, self.whole), ir.Constant(self.whole, [127] * self.type.count))
        bits = self.builder.shl(exponent, ir.Constant(self.whole, [23] * self.type.count))
        return self.builder.fmul(power, self.builder.bitcast(bits, self.type))
