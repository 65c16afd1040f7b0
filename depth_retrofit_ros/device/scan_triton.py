"""Sums of what comes before, for use within Triton's kernels."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sums_before(counts: tl.tensor, count: tl.tensor, BLOCK: tl.constexpr) -> tl.tensor:
    """``int32 [count]`` becomes the sum of what comes before each; returns that of all. For one program, ``BLOCK`` at once."""
    before = count * 0
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        number = tl.load(counts + place, place < count, 0)
        tl.store(counts + place, before + tl.cumsum(number, 0) - number, place < count)
        before += tl.sum(number, 0)
    return before
