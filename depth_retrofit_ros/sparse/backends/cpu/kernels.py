"""The compiled kernel of the ``cpu`` backend: gather, matrix product, bias, activation and residual in one pass over the rows.

A few rows are gathered into a buffer that stays in the first-level cache, and multiplied with a block of the weights while their
sums stay in registers; the gathered matrix exists nowhere else. The two innermost steps are those of ``vectors``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.sparse.backends.cpu.vectors import (
    CACHE_LINE,
    copy_rows,
    entry,
    multiply_tile,
    prefetch_row,
    vector_unit,
    write_row,
)

WORK = 1 << 22  # multiply-adds that a thread takes at once: some tens of microseconds
NEIGHBORS = 9  # taps whose sources are packed


def block_width(outputs: int) -> int:
    """Columns of a block of weights, into which a matrix with so many outputs is cut (the last one padded with zeros)."""
    unit = vector_unit()
    return unit.columns(outputs) * unit.lanes


def kernel(channels: int, outputs: int, taps: int, paired: bool) -> Callable[..., None]:
    """The kernel for these sizes, compiled at its first call (a second or less, then cached on disk); paired: in bfloat16."""
    unit = vector_unit()
    columns = unit.columns(outputs)
    stride = 576  # of the rows of the buffer: a constant of the kernel, so only few values
    while stride < taps * channels:
        stride *= 2
    # Not a power of two, which would put all rows into the same few sets of the cache.
    stride += CACHE_LINE // (2 if paired else 4)
    return _kernel(channels, outputs, taps, unit.rows(columns, paired), columns, unit.lanes, stride, paired)


@functools.cache
def _kernel(
    channels: int, outputs: int, taps: int, rows: int, columns: int, lanes: int, stride: int, paired: bool
) -> Callable[..., None]:
    width = columns * lanes
    blocks = -(-outputs // width)
    last = outputs - (blocks - 1) * width  # columns of the last block
    side = 3 if taps == NEIGHBORS else 1  # rows that may be copied at once
    line = side * channels
    buffer_type: Any = np.int16 if paired else np.float32

    @cached_njit(nogil=True)
    def convolve(
        features: np.ndarray,
        sources: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        bias: np.ndarray,
        zeros: np.ndarray,
        relu: bool,
        residual: np.ndarray,
        out: np.ndarray,
        counter: np.ndarray,
    ) -> None:
        """``out[targets[i]] = concat(relu(features[sources[i, t]]) for all t) @ weights + bias + residual[targets[i]]``.

        features: ``[N, channels]``; sources: ``int32 [count, taps]``, N for a row of zeros, or those of a 3x3 kernel, ``int32
        [count, 3]`` as ``kernel_maps.fill_neighbors`` has them; targets: ``int32 [count, slots]``, out of range for none; weights:
        as ``backend.pack_weights`` has them; bias: ``float32 [blocks, width]``, padded with zeros; zeros: of a row, or of three
        with a 3x3 kernel, as the features; residual: as out. Of sources, targets and residual, an empty one means row i for i, and
        nothing to add. counter: ``int64 [1]``, 0 at first: all threads call this with the same arguments, and each takes pieces
        until none is left.
        """
        slots, steps = weights.shape[0], weights.shape[2]
        mapped, scattered, adding = sources.shape[0] > 0, targets.shape[0] > 0, residual.shape[0] > 0
        absent = features.shape[0]
        count = sources.shape[0] if mapped else absent
        packed = np.zeros(rows * stride, buffer_type)
        tile = np.empty((rows, width), np.float32)
        piece = max(1, WORK // (slots * blocks * rows * taps * channels * width)) * rows
        while True:
            begin = fetch_add(counter, piece)
            if begin >= count:
                return
            for first in range(begin, min(begin + piece, count), rows):
                used = min(rows, count - first)
                # What the tile after the next one reads and writes for the first time in a while.
                ahead = first + 2 * rows
                for i in range(ahead, ahead + rows if ahead + rows <= count else ahead):
                    if side == 3:
                        prefetch_row(features, entry(sources, 3 * i + 1) + 2, channels, 0)
                    elif mapped:
                        for t in range(max(taps - 2, 0), taps):
                            prefetch_row(features, entry(sources, taps * i + t), channels, 0)
                    else:
                        prefetch_row(features, i, channels, 0)
                    if not scattered and blocks == 1:
                        prefetch_row(out, i, outputs, 1)
                        if adding:
                            prefetch_row(residual, i, outputs, 0)
                for r in range(used):
                    i, at = first + r, r * stride
                    if side == 3:
                        bits = entry(sources, 3 * i + 2)
                        for y in range(3):
                            source = (
                                entry(sources, 3 * i) if y == 0 else entry(sources, 3 * i + 1) if y == 2 else i - ((bits >> 3) & 1)
                            )
                            present = (bits >> (3 * y)) & 7
                            if present == 7:  # nearly always, and their rows follow each other
                                copy_rows(packed, at, features, source, zeros, relu, channels, 3, lanes)
                                at += line
                                continue
                            for x in range(3):
                                here = (present >> x) & 1
                                copy_rows(packed, at, features, source if here else absent, zeros, relu, channels, 1, lanes)
                                source += here
                                at += channels
                    else:
                        for t in range(taps):
                            source = entry(sources, taps * i + t) if mapped else i
                            copy_rows(packed, at, features, source, zeros, relu, channels, 1, lanes)
                            at += channels
                for slot in range(slots):
                    for block in range(blocks):
                        multiply_tile(packed, weights[slot, block], steps, bias[block], tile, rows, columns, lanes, stride)
                        left = block * width
                        for r in range(used):
                            target = entry(targets, slots * (first + r) + slot) if scattered else first + r
                            if target >= out.shape[0]:
                                continue
                            if adding:
                                if block < blocks - 1:
                                    write_row(out, target, left, tile, r, residual, 1, outputs, width, lanes)
                                else:
                                    write_row(out, target, left, tile, r, residual, 1, outputs, last, lanes)
                            elif block < blocks - 1:
                                write_row(out, target, left, tile, r, residual, 0, outputs, width, lanes)
                            else:
                                write_row(out, target, left, tile, r, residual, 0, outputs, last, lanes)

    return convolve
