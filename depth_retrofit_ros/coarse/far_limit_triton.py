"""The end of ``far_limit.far_limit`` in one kernel, for CUDA."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import launch

BLOCK = 1024  # cells at once


@triton.jit
def limit_kernel(
    cells: tl.tensor,  # float32 [count], rising, NaN last
    out: tl.tensor,  # float32 [1]
    count: tl.tensor,
    SEEN: tl.constexpr,
    BEHIND: tl.constexpr,
    LEAST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """One program; sums in double precision."""
    known, total = tl.zeros((BLOCK,), tl.float64), tl.zeros((BLOCK,), tl.float64)
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        depth = tl.load(cells + place, place < count, float("nan"))
        there = depth == depth
        known += tl.where(there, 1.0, 0.0)
        total += tl.where(there, 1.0 / depth, 0.0).to(tl.float64)
    number, whole = tl.sum(known, 0), tl.sum(total, 0)
    farthest, before = tl.zeros((BLOCK,), tl.float32), whole * 0.0
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        depth = tl.load(cells + place, place < count, float("nan"))
        share = tl.where(depth == depth, 1.0 / depth, 0.0).to(tl.float64)
        up_to = before + tl.cumsum(share, 0)
        seen = (depth == depth) & (up_to <= SEEN * whole)
        farthest = tl.maximum(farthest, tl.where(seen, depth, 0.0))
        before += tl.sum(share, 0)
    limit = tl.maximum(BEHIND * tl.max(farthest, 0).to(tl.float64), LEAST * number / whole)
    tl.store(out, limit.to(tl.float32))


def limit_of(cells: torch.Tensor, seen: float, behind: float, least: float) -> torch.Tensor:
    """The limit ``[]`` of a frame with these cells ``float32 [n]``, rising, NaN last; the rest are constants of ``far_limit``."""
    out = cells.new_empty(())
    launch(limit_kernel, (1,), cells, out, cells.numel(), SEEN=seen, BEHIND=behind, LEAST=least, BLOCK=BLOCK)
    return out
