"""The compiled passes of ``estimate_cpu``: over the coarse cells, the frame's rows, and the pixels that a refiner chose at."""

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
BLOCK = 512  # refined pixels, whose features stay in the first-level cache
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


@numba.njit(inline="always")
def probability(odds: float) -> float:
    """Of log odds."""
    return ONE / (ONE + exponential(-odds))


@cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def fill_cells(
    edge: np.ndarray,
    wide_edge: np.ndarray,
    doubt: np.ndarray,
    level: np.ndarray,
    bend: np.ndarray,
    halves: np.ndarray,
    kept: tuple[Numbers, ...],
    refined: tuple[Numbers, ...],
    frame: np.ndarray,
    likely: np.ndarray,
    odds: np.ndarray,
    counter: np.ndarray,
) -> None:
    """Features ``float32 [h, w]`` before they are saturated by ``halves [4]``, all but level; kept, refined: ``tabulated``
    curves of ``CELL``; frame ``[2]``: log odds by what the frame has in common. Filled: ``likely [h, w]``, the probability of kept
    pixels, and ``odds [h, w]``, log odds of refined ones. Pieces of work are taken from ``counter``."""
    edges, wide_edges, doubts, levels, bends = edge.ravel(), wide_edge.ravel(), doubt.ravel(), level.ravel(), bend.ravel()
    plain, chosen = likely.ravel(), odds.ravel()
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
            told = first + odds_of(kept[0], e) + odds_of(kept[1], w) + odds_of(kept[2], d) + odds_of(kept[3], at)
            plain[i] = probability(told + odds_of(kept[4], b))
            told = second + odds_of(refined[0], e) + odds_of(refined[1], w) + odds_of(refined[2], d)
            chosen[i] = told + odds_of(refined[3], at) + odds_of(refined[4], b)


@cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def fill_rows(depth: np.ndarray, cells: np.ndarray, rows: Table, columns: Table, out: np.ndarray, counter: np.ndarray) -> None:
    """Bilinear values of ``cells [h, w]``, NaN where depth ``[H, W]`` is: fills ``out [H, W]``. rows, columns: see
    ``bilinear_table``. A piece of work, taken from ``counter``, is the rows between two of the cells': these are widened once."""
    width = depth.shape[1]
    low_h, low_w = cells.shape
    tops, downs = rows
    lefts, weights = columns
    upper, rise = np.empty(width, np.float32), np.empty(width, np.float32)
    while True:
        top = fetch_add(counter, 1)
        if top >= low_h:
            return
        first, last = np.searchsorted(tops, top), np.searchsorted(tops, top, side="right")
        if first == last:
            continue
        here, below = cells[top], cells[min(top + 1, low_h - 1)]
        for x in range(width):
            left = lefts[x]
            right = min(left + 1, low_w - 1)
            a, b = here[left] + (here[right] - here[left]) * weights[x], below[left] + (below[right] - below[left]) * weights[x]
            upper[x], rise[x] = a, b - a
        for y in range(first, last):
            down, line, told = downs[y], depth[y], out[y]
            for x in range(width):
                value = upper[x] + rise[x] * down
                told[x] = value if line[x] == line[x] else UNKNOWN


@cached_njit(nogil=True, fastmath={"contract", "arcp", "nsz"})
def fill_refined(
    depth: np.ndarray,
    base: np.ndarray,
    indices: np.ndarray,
    entropy: np.ndarray,
    gate: np.ndarray,
    odds: np.ndarray,
    rows: Table,
    columns: Table,
    near: int,
    wide: int,
    steps: tuple[Numbers, ...],
    choice: tuple[Numbers, ...],
    out: np.ndarray,
    counter: np.ndarray,
) -> None:
    """Probabilities at the pixels ``indices [K]``, increasing. depth, base ``[H, W]``; entropy, gate ``[K]``; odds ``[h, w]``: of
    refined pixels, by their cells; rows, columns: see ``bilinear_table``; near, wide: reach of the steps; steps, choice:
    ``tabulated`` curves. Filled there: ``out [H, W]``, a block at a time, taken from ``counter``."""
    width = depth.shape[1]
    low_h, low_w = odds.shape
    tops, downs = rows
    lefts, weights = columns
    told, near_step, wide_step = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    change = np.empty(BLOCK, np.float32)
    flat = out.ravel()
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= indices.size:
            return
        n = min(BLOCK, indices.size - start)
        y = indices[start] // width
        for i in range(n):
            p = indices[start + i]
            while p >= (y + 1) * width:
                y += 1
            x = p - y * width
            here = depth[y, x]
            near_step[i], wide_step[i] = _step(depth, y, x, near, here), _step(depth, y, x, wide, here)
            change[i] = abs(here - base[y, x]) / (here + base[y, x])
            top, left = tops[y], lefts[x]
            bottom, right, across = min(top + 1, low_h - 1), min(left + 1, low_w - 1), weights[x]
            a = odds[top, left] + (odds[top, right] - odds[top, left]) * across
            b = odds[bottom, left] + (odds[bottom, right] - odds[bottom, left]) * across
            told[i] = a + (b - a) * downs[y]
        doubts, kept = entropy[start : start + n], gate[start : start + n]
        for i in range(n):
            told[i] += odds_of(steps[0], near_step[i]) + odds_of(steps[1], wide_step[i])
        for i in range(n):
            told[i] += odds_of(choice[0], doubts[i]) + odds_of(choice[1], kept[i])
        for i in range(n):
            value = probability(told[i] + odds_of(choice[2], change[i]))
            told[i] = value if near_step[i] == near_step[i] else UNKNOWN
        for i in range(n):
            flat[indices[start + i]] = told[i]


@numba.njit(inline="always")
def _step(depth: np.ndarray, y: int, x: int, reach: int, here: float) -> float:
    """``features.steps`` at a pixel of depth ``here``; NaN goes beyond nothing."""
    low = high = here
    if y >= reach:
        value = depth[y - reach, x]
        low, high = value if value < low else low, value if value > high else high
    if y + reach < depth.shape[0]:
        value = depth[y + reach, x]
        low, high = value if value < low else low, value if value > high else high
    if x >= reach:
        value = depth[y, x - reach]
        low, high = value if value < low else low, value if value > high else high
    if x + reach < depth.shape[1]:
        value = depth[y, x + reach]
        low, high = value if value < low else low, value if value > high else high
    return (high - low) / (high + low)
