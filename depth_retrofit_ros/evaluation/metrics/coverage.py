"""Whether the selection finds the pixels that need refinement: those that are wrong by themselves, and not with their whole
surface.

A coarse model errs in two ways. A surface as a whole is too near or too far, by a factor that drifts over the scene: no choice of a
few pixels mends that. And single pixels have the depth of another surface, because an edge is smeared or displaced or a thin
structure is lost: that is what refinement is for. The first error is measured on the surface away from its edges and taken out.
"""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.evaluation.metrics.pointwise import both_known

BUDGETS = (0.02, 0.05, 0.1, 0.2)
HIGH_ERROR = 0.10  # relative
CELLS = 64  # along the long side: a cell is 40 px at 2560×1440
BIN = 0.1  # of ln depth: how alike two depths are to be one surface
ERROR_BIN, ERROR_BINS = 0.03, 101  # of the histogram of errors: ±1.5 in ln depth


def high_error(depth: np.ndarray, reference: np.ndarray, band: np.ndarray) -> np.ndarray:
    """bool [H, W]: pixels whose depth is off by more than 10 % *beyond the error of their surface*.

    See ``excess_error``, which is above ln 1.1 there.
    """
    return np.asarray(excess_error(depth, reference, band) > np.log(1 + HIGH_ERROR))


def excess_error(depth: np.ndarray, reference: np.ndarray, band: np.ndarray) -> np.ndarray:
    """``float32 [H, W]``: how wrong each pixel is beyond the error of its surface, 0 where depth or reference is unknown.

    depth: the upsampled coarse map, aligned; reference; band: the edge band; all [H, W]. With g = ln depth − ln reference: |g − s|,
    s being ``surface_error``.
    """
    known = both_known(depth, reference)
    error = np.zeros(depth.shape, np.float32)
    np.divide(depth, reference, out=error, where=known)
    np.log(error, out=error, where=known)
    return np.where(known, np.abs(error - surface_error(error, reference, known, band)), np.float32(0))


def surface_error(error: np.ndarray, reference: np.ndarray, known: np.ndarray, band: np.ndarray) -> np.ndarray:
    """``float32 [H, W]``: the median ``error`` of the surface that each known pixel belongs to, 0 where unknown.

    The frame is divided into cells (1/64 of the long side) and bins of ln depth (0.1). The median is over the known pixels outside
    the band in the cell and its 8 neighbours whose bin is the pixel's own or next to it; where there are none (a thin structure has
    no inside), over those 9 cells at any depth; where there are none either, it is 0.
    """
    height, width = error.shape
    side = max(1, -(-max(height, width) // CELLS))
    shape = -(-height // side), -(-width // side)
    cell = ((np.arange(height) // side)[:, None] * shape[1] + np.arange(width) // side)[known]
    step = np.floor(np.log(reference[known]) / np.float32(BIN)).astype(np.int64)
    errors, inside = error[known], ~band[known]
    nowhere = np.zeros((2, shape[0] * shape[1], ERROR_BINS))
    anywhere = _medians(_histograms(cell[inside], errors[inside], shape), nowhere[0, :, 0])

    # One bin of depth after the other: the surface of a pixel is at most one bin away from it.
    order = np.argsort(step, kind="stable")
    bounds = np.flatnonzero(np.diff(step[order])) + 1
    groups = {int(step[group[0]]): group for group in np.split(order, bounds) if group.size}
    histograms: dict[int, np.ndarray] = {}
    surface = np.zeros(step.shape, np.float32)
    for s, group in groups.items():
        alike = np.zeros_like(nowhere)
        for neighbor in (s - 1, s, s + 1):
            if neighbor in groups and neighbor not in histograms:
                chosen = groups[neighbor][inside[groups[neighbor]]]
                histograms[neighbor] = _histograms(cell[chosen], errors[chosen], shape)
            alike += histograms.get(neighbor, nowhere)
        histograms.pop(s - 1, None)
        surface[group] = _medians(alike, anywhere)[cell[group]]
    out = np.zeros(error.shape, np.float32)
    out[known] = surface
    return out


def _histograms(cell: np.ndarray, errors: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``[2, cells, levels]``: number and sum of the errors at each level of error, in each cell and its 8 neighbours."""
    level = np.clip(np.floor(errors / ERROR_BIN).astype(np.int64) + ERROR_BINS // 2, 0, ERROR_BINS - 1)
    index, size = cell * ERROR_BINS + level, shape[0] * shape[1] * ERROR_BINS
    both = [np.bincount(index, weights, size).reshape(*shape, ERROR_BINS) for weights in (None, errors)]
    return np.stack([_box3(_box3(h, 0), 1) for h in both]).reshape(2, -1, ERROR_BINS)


def _medians(histograms: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Of each cell, as the mean of the level that holds the median: right to 0.03; ``otherwise`` where a cell is empty."""
    count, total = histograms
    up_to = count.cumsum(1)
    level = (2 * up_to >= up_to[:, -1:]).argmax(1)
    row = np.arange(level.size)
    return np.where(up_to[:, -1] > 0, total[row, level] / np.maximum(count[row, level], 1), otherwise)


def _box3(values: np.ndarray, axis: int) -> np.ndarray:
    """Sum of each entry and its two neighbours along ``axis``."""
    out = values.copy()
    lower, upper = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
    out[upper] += values[lower]
    out[lower] += values[upper]
    return out


def coverage(selected: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the ``wanted`` pixels that are ``selected``, both bool [H, W]; NaN where none is wanted."""
    count = np.count_nonzero(wanted)
    return np.count_nonzero(selected & wanted) / count if count else float("nan")
