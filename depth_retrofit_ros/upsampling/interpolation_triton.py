"""What ``interpolation`` says about the pixels of two grids, for use within Triton's kernels."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def between(
    fine_y: tl.tensor, fine_x: tl.tensor, low_h: tl.tensor, low_w: tl.tensor, height: tl.tensor, width: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """The coarse rows (top, bottom) and columns (left, right) between which the centre of a fine pixel lies, and how far it is from
    the first of each (down, across), 0…1. A cell that counts nothing is not named: a broken one would spoil the sum."""
    at_y = tl.minimum(tl.maximum((fine_y.to(tl.float32) + 0.5) * (low_h / height) - 0.5, 0.0), low_h - 1.0)
    at_x = tl.minimum(tl.maximum((fine_x.to(tl.float32) + 0.5) * (low_w / width) - 0.5, 0.0), low_w - 1.0)
    top, left = at_y.to(tl.int32), at_x.to(tl.int32)
    down, across = at_y - top.to(tl.float32), at_x - left.to(tl.float32)
    bottom = tl.where(down > 0, tl.minimum(top + 1, low_h - 1), top)
    right = tl.where(across > 0, tl.minimum(left + 1, low_w - 1), left)
    return top, bottom, left, right, down, across


@triton.jit
def nearest_cell(y: tl.tensor, x: tl.tensor, h: tl.tensor, w: tl.tensor) -> tl.tensor:
    """The flat index of the cell at (y, x), or of the one at the border next to it."""
    return tl.minimum(tl.maximum(y, 0), h - 1) * w + tl.minimum(tl.maximum(x, 0), w - 1)
