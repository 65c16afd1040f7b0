"""The kernel of the ``triton`` backend: an implicit matrix product, with the gather in its loads and the rest in its stores.

At the widths of these networks everything is bound by memory, so nothing is stored that need not be, the gathered matrix least.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from depth_retrofit_ros.device.launches import INTERPRETED
from depth_retrofit_ros.device.scan_triton import sums_before

# Timed once for each pair of widths and each power of two of rows; of the interpreter only the values are of interest.
CONFIGS = [
    triton.Config({"BLOCK_ROWS": rows, "BLOCK_DEPTH": depth}, num_warps=warps, num_stages=stages)
    for rows, depth, warps, stages in (
        (64, 16, 4, 3),
        (64, 32, 4, 3),
        (128, 16, 4, 3),
        (128, 32, 8, 3),
        (128, 64, 8, 3),
        (256, 16, 8, 2),
    )
]


def not_too_deep(configs: list[triton.Config], arguments: dict[str, Any], **constants: Any) -> list[triton.Config]:
    """Those that would not mostly multiply zeros beyond the channels."""
    channels = {**arguments, **constants}["CHANNELS"]
    return [config for config in configs if config.kwargs["BLOCK_DEPTH"] < 2 * max(channels, 16)]


@triton.autotune(
    CONFIGS[:1] if INTERPRETED else CONFIGS,
    key=["CHANNELS", "OUTPUTS", "TAPS", "SLOTS", "magnitude"],
    prune_configs_by={"early_config_prune": not_too_deep},
)
@triton.jit(do_not_specialize=["magnitude"])
def convolve(
    features: tl.tensor,  # [absent, CHANNELS]
    sources: tl.tensor,  # int32: the rows under the kernel, [count, TAPS], `absent` for zeros; or [count, 3], see `neighbors`
    targets: tl.tensor,  # int32 [count, SLOTS]: the rows to write, `rows_out` for none; unread unless SCATTERED
    weights: tl.tensor,  # [SLOTS, TAPS · CHANNELS, OUTPUTS]
    bias: tl.tensor,  # [OUTPUTS]; unread unless BIASED
    residual: tl.tensor,  # [rows_out, OUTPUTS], added to the result; unread unless ADDED
    out: tl.tensor,  # [rows_out, OUTPUTS]
    active: tl.tensor,  # int32 [1]: how many of the count are to be computed; unread unless PARTIAL
    count: tl.tensor,
    absent: tl.tensor,
    rows_out: tl.tensor,
    magnitude: tl.tensor,  # binary digits of the count: what was the fastest for few rows is not for many
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TAPS: tl.constexpr,
    SLOTS: tl.constexpr,
    GATHERED: tl.constexpr,  # by [count, TAPS]; sources are unread unless this or the next
    PACKED: tl.constexpr,
    SCATTERED: tl.constexpr,
    RELU: tl.constexpr,
    BIASED: tl.constexpr,
    ADDED: tl.constexpr,
    PARTIAL: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
) -> None:
    """``out[targets[i]] = concat(features[sources[i, t]] for all t) @ weights + bias + residual[targets[i]]``, sums in float32.

    Grid: blocks of rows, slots · blocks of columns.
    """
    if PARTIAL:
        count = tl.load(active)
        if tl.program_id(0) * BLOCK_ROWS >= count:
            return
    rows = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    slot = tl.program_id(1) % SLOTS
    columns = tl.program_id(1) // SLOTS * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    depth = tl.arange(0, BLOCK_DEPTH)
    sums = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    if PACKED:
        entry = sources + rows.to(tl.int64) * 3
        above, below = tl.load(entry, rows < count, 0), tl.load(entry + 1, rows < count, 0)
        bits = tl.load(entry + 2, rows < count, 0)
    for tap in range(TAPS):
        if PACKED:
            # Neighbours in one line of the image have successive rows: the first of them, plus how many are left of this one.
            line = bits >> (tap - tap % 3)
            left = tl.where(tap % 3 > 0, line & 1, 0) + tl.where(tap % 3 > 1, (line >> 1) & 1, 0)
            first = tl.where(tap < 3, above, tl.where(tap < 6, rows - ((bits >> 3) & 1), below))
            source = tl.where((bits >> tap) & 1 > 0, first + left, absent)
        elif GATHERED:
            source = tl.load(sources + rows.to(tl.int64) * TAPS + tap, rows < count, absent)
        else:
            source = tl.where(rows < count, rows, absent)
        present = source < absent
        row = features + source.to(tl.int64)[:, None] * CHANNELS
        matrix = weights + (slot * TAPS + tap) * CHANNELS * OUTPUTS
        for first in tl.static_range(0, CHANNELS, BLOCK_DEPTH):
            channel = first + depth
            value = tl.load(row + channel[None, :], present[:, None] & (channel < CHANNELS)[None, :], 0.0)
            if RELU:
                value = tl.where(value < 0.0, 0.0, value)  # keeps NaN
            factor = tl.load(
                matrix + channel[:, None] * OUTPUTS + columns[None, :],
                (channel < CHANNELS)[:, None] & (columns < OUTPUTS)[None, :],
                0.0,
            )
            sums = tl.dot(value.to(factor.dtype), factor, sums, input_precision="ieee")
    if BIASED:
        sums += tl.load(bias + columns, columns < OUTPUTS, 0.0).to(tl.float32)[None, :]
    if SCATTERED:
        target = tl.load(targets + rows.to(tl.int64) * SLOTS + slot, rows < count, rows_out)
    else:
        target = tl.where(rows < count, rows, rows_out)
    place = target.to(tl.int64)[:, None] * OUTPUTS + columns[None, :]
    wanted = (target < rows_out)[:, None] & (columns < OUTPUTS)[None, :]
    if ADDED:
        sums += tl.load(residual + place, wanted, 0.0).to(tl.float32)
    tl.store(out + place, sums.to(out.dtype.element_ty), wanted)


@triton.jit
def neighbors(
    indices: tl.tensor,  # int64 [count]
    index_image: tl.tensor,  # int32 [height, width]
    out: tl.tensor,  # int32 [count, 3]
    active: tl.tensor,  # int32 [1]: how many pixels there are in use; unread unless PARTIAL
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    PARTIAL: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """``kernel_map.neighbor_map`` in a third of the bytes: the row of the first neighbour in the line above and in the line below,
    and 9 bits, in row-major order, that say which neighbours there are. Rows count the pixels in row-major order, so that those of
    one line have successive rows. Grid: blocks of pixels."""
    if PARTIAL:
        used = tl.load(active)
        if tl.program_id(0) * BLOCK >= used:
            return
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(indices + pixel, pixel < count, 0)
    y, x = index // width, index % width
    bits = tl.zeros((BLOCK,), tl.int32)
    above, below = bits, bits
    for tap in tl.static_range(9):
        v, u = y + tap // 3 - 1, x + tap % 3 - 1
        inside = (pixel < count) & (v >= 0) & (v < height) & (u >= 0) & (u < width)
        row = tl.load(index_image + v * width + u, inside, -1)
        present = row >= 0
        if tap < 3:
            above = tl.where(present & ((bits & 7) == 0), row, above)
        if tap > 5:
            below = tl.where(present & ((bits >> 6) == 0), row, below)
        bits = bits | tl.where(present, 1 << tap, 0)
    entry = out + pixel.to(tl.int64) * 3
    tl.store(entry, above, pixel < count)
    tl.store(entry + 1, below, pixel < count)
    tl.store(entry + 2, bits, pixel < count)


@triton.jit
def children_of(
    fine: tl.tensor, cell: tl.tensor, height: tl.tensor, width: tl.tensor, h: tl.tensor, w: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """The rows of the four pixels of a cell, −1 where there is none."""
    y, x = 2 * (cell // w), 2 * (cell % w)
    there = cell < h * w
    below, beside = there & (y + 1 < height), there & (x + 1 < width)
    place = fine + y * width + x
    first, second = tl.load(place, there, -1), tl.load(place + 1, beside, -1)
    third, fourth = tl.load(place + width, below, -1), tl.load(place + width + 1, below & beside, -1)
    return first, second, third, fourth


@triton.jit
def count_cells(
    fine: tl.tensor,  # int32 [height, width]: the row of each pixel, −1 for none
    counts: tl.tensor,  # int32 [blocks]
    height: tl.tensor,
    width: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """How many 2×2 cells of each block have a pixel. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    first, second, third, fourth = children_of(fine, cell, height, width, h, w)
    occupied = (first >= 0) | (second >= 0) | (third >= 0) | (fourth >= 0)
    tl.store(counts + tl.program_id(0), tl.sum(occupied.to(tl.int32), 0))


@triton.jit
def sum_before(counts: tl.tensor, total: tl.tensor, blocks: tl.tensor, BLOCK: tl.constexpr) -> None:
    """``int32 [blocks]`` becomes the sum of what comes before each; total ``int32 [1]``: of all. One program."""
    tl.store(total, sums_before(counts, blocks, BLOCK))


@triton.jit
def link_cells(
    fine: tl.tensor,  # int32 [height, width]
    before: tl.tensor,  # int32 [blocks]
    index_image: tl.tensor,  # int32 [h, w]
    indices: tl.tensor,  # int64 [most]
    children: tl.tensor,  # int32 [most, 4]
    slots: tl.tensor,  # int32 [count]
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """``kernel_map.coarsen`` once it is known how many cells come before each block. Grid: blocks of cells."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    first, second, third, fourth = children_of(fine, cell, height, width, h, w)
    occupied = (first >= 0) | (second >= 0) | (third >= 0) | (fourth >= 0)
    row = tl.load(before + tl.program_id(0)) + tl.cumsum(occupied.to(tl.int32), 0) - 1
    tl.store(index_image + cell, tl.where(occupied, row, -1), cell < h * w)
    tl.store(indices + row, cell.to(tl.int64), occupied)
    place = 4 * row
    tl.store(children + place, tl.where(first < 0, count, first), occupied)
    tl.store(children + place + 1, tl.where(second < 0, count, second), occupied)
    tl.store(children + place + 2, tl.where(third < 0, count, third), occupied)
    tl.store(children + place + 3, tl.where(fourth < 0, count, fourth), occupied)
    tl.store(slots + first, place, first >= 0)
    tl.store(slots + second, place + 1, second >= 0)
    tl.store(slots + third, place + 2, third >= 0)
    tl.store(slots + fourth, place + 3, fourth >= 0)
