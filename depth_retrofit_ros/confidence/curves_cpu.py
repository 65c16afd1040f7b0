"""The compiled passes of ``estimate_cpu``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numba
import numpy as np

from depth_retrofit_ros.confidence.calibration import MOST_KNOTS, Curve
from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.device.thread_pool import fetch_add
from depth_retrofit_ros.refinement.pixels.gate_cpu import exponential
from depth_retrofit_ros.upsampling.interpolation import Table

HINGES = MOST_KNOTS - 1
ZERO, ONE, UNKNOWN = np.float32(0), np.float32(1), np.float32(np.nan)
CELLS = 1024  # of a piece of work
Numbers = tuple[np.float32, ...]
"""Of a curve: its value at the first knot and its last knot; knots; changes of slope there. Scalars, which stay in registers."""


def tabulated(curves: Mapping[str, Curve], names: Sequence[str]) -> tuple[Numbers, ...]:
    """The curves of these names; hinges that one has not change nothing."""
    return tuple(_numbers(curves[name]) for name in names)


def _numbers(curve: Curve) -> Numbers:
    start, changes = curve.hinges
    none = HINGES - len(changes)
    numbers = start, curve.knots[-1], *curve.knots[:-1], *[curve.knots[-1]] * none, *changes, *[0.0] * none
    return tuple(map(np.float32, numbers))


@numba.njit(inline="always")
def above(x: float, knot: float) -> float:
    """(x − knot)⁺."""
    return x - knot if x > knot else ZERO


@numba.njit(inline="always")
def odds_of(t: Numbers, feature: float) -> float:
    """Log odds by one feature, see ``Curve``."""
    x = t[1] if feature > t[1] else feature
    low = t[0] + t[7] * above(x, t[2]) + t[8] * above(x, t[3])
    return low + t[9] * above(x, t[4]) + t[10] * above(x, t[5]) + t[11] * above(x, t[6])


@cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def cell_odds(
    edge: np.ndarray,
    wide_edge: np.ndarray,
    doubt: np.ndarray,
    level: np.ndarray,
    bend: np.ndarray,
    halves: np.ndarray,
    kept: tuple[Numbers, ...],
    refined: tuple[Numbers, ...],
    frame: np.ndarray,
    out: np.ndarray,
    counter: np.ndarray,
) -> None:
    """Features ``float32 [h, w]`` before they are saturated by ``halves [4]``, all but level; kept, refined: ``tabulated``
    curves of ``CELL``;
    frame ``[2]``: log odds by ``FRAME``. Filled: ``out [2, h, w]``. Pieces of work are taken from ``counter``."""
    edges, wide_edges, doubts, levels, bends = edge.ravel(), wide_edge.ravel(), doubt.ravel(), level.ravel(), bend.ravel()
    plain, chosen = out[0].ravel(), out[1].ravel()
    half_edge, half_wide, half_doubt, half_bend = halves[0], halves[1], halves[2], halves[3]
    first, second = frame[0], frame[1]
    while True:
        start = fetch_add(counter, CELLS)
        if start >= level.size:
            return
        stop = min(start + CELLS, level.size)
        for i in range(start, stop):
            e, w = edges[i] / (edges[i] + half_edge), wide_edges[i] / (wide_edges[i] + half_wide)
            d, b = doubts[i] / (doubts[i] + half_doubt), bends[i] / (bends[i] + half_bend)
            at = levels[i]
            plain[i] = first + odds_of(kept[0], e) + odds_of(kept[1], w) + odds_of(kept[2], d) + odds_of(kept[3], at)
            plain[i] += odds_of(kept[4], b)
            chosen[i] = second + odds_of(refined[0], e) + odds_of(refined[1], w) + odds_of(refined[2], d)
            chosen[i] += odds_of(refined[3], at) + odds_of(refined[4], b)


@numba.njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def _widened(low: np.ndarray, high: np.ndarray, other: np.ndarray) -> None:
    """low and high where ``other [n]`` goes beyond them; NaN goes beyond nothing."""
    for x in range(low.size):
        value, least, most = other[x], low[x], high[x]
        low[x] = value if value < least else least
        high[x] = value if value > most else most


@numba.njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def _steps(depth: np.ndarray, y: int, reach: int, out: np.ndarray, high: np.ndarray) -> None:
    """``features.steps`` of a row; high: memory for it."""
    line, width = depth[y], depth.shape[1]
    out[:], high[:] = line, line
    if y >= reach:
        _widened(out, high, depth[y - reach])
    if y + reach < depth.shape[0]:
        _widened(out, high, depth[y + reach])
    if reach < width:
        _widened(out[reach:], high[reach:], line[: width - reach])
        _widened(out[: width - reach], high[: width - reach], line[reach:])
    for x in range(out.size):
        out[x] = (high[x] - out[x]) / (high[x] + out[x])


@numba.njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def _add(odds: np.ndarray, curve: Numbers, feature: np.ndarray) -> None:
    """A curve of a row."""
    for x in range(odds.size):
        odds[x] += odds_of(curve, feature[x])


@numba.njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def _probabilities(odds: np.ndarray, depth: np.ndarray) -> None:
    """Of a row's log odds, in their place; NaN where depth is."""
    for x in range(odds.size):
        value = ONE / (ONE + exponential(-odds[x]))
        odds[x] = value if depth[x] == depth[x] else UNKNOWN


@cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def row_confidence(
    depth: np.ndarray,
    base: np.ndarray,
    index_image: np.ndarray,
    entropy: np.ndarray,
    gate: np.ndarray,
    odds: np.ndarray,
    rows: Table,
    columns: Table,
    near: int,
    wide: int,
    kept: tuple[Numbers, ...],
    refined: tuple[Numbers, ...],
    choice: tuple[Numbers, ...],
    chooses: bool,
    out: np.ndarray,
    counter: np.ndarray,
) -> None:
    """depth, base, index_image ``[H, W]``; entropy, gate ``[K]``; odds ``[2, h, w]`` on the cells; rows, columns: see
    ``bilinear_table``; near, wide: reach of the steps; kept, refined, choice: ``tabulated`` curves. Filled: ``out [H, W]``, a row
    at a time, taken from ``counter``."""
    height, width = depth.shape
    low_h, low_w = odds.shape[1:]
    tops, downs = rows
    lefts, weights = columns
    blended = np.empty((2, low_w + 1), np.float32)
    near_steps, wide_steps = np.empty(width, np.float32), np.empty(width, np.float32)
    while True:
        y = fetch_add(counter, 1)
        if y >= height:
            return
        top, down = tops[y], downs[y]
        bottom = min(top + 1, low_h - 1)
        for kind in range(2):
            for j in range(low_w):
                blended[kind, j] = odds[kind, top, j] + (odds[kind, bottom, j] - odds[kind, top, j]) * down
            blended[kind, low_w] = blended[kind, low_w - 1]
        line, told = depth[y], out[y]
        _steps(depth, y, near, near_steps, told)
        _steps(depth, y, wide, wide_steps, told)
        for x in range(width):
            start = blended[0, lefts[x]]
            told[x] = start + (blended[0, lefts[x] + 1] - start) * weights[x]
        _add(told, kept[0], near_steps)
        _add(told, kept[1], wide_steps)
        if chooses:
            for x in range(width):
                k = index_image[y, x]
                if k >= 0:
                    start = blended[1, lefts[x]]
                    start += (blended[1, lefts[x] + 1] - start) * weights[x]
                    start += odds_of(refined[0], near_steps[x]) + odds_of(refined[1], wide_steps[x])
                    change = abs(line[x] - base[y, x]) / (line[x] + base[y, x])
                    told[x] = start + odds_of(choice[0], entropy[k]) + odds_of(choice[1], gate[k]) + odds_of(choice[2], change)
        _probabilities(told, line)
