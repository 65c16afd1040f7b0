"""The compiled passes of ``estimate_cpu``: over the coarse cells, then over the frame's rows with its refined pixels."""

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
ZERO, ONE, SCALE, UNKNOWN = np.float32(0), np.float32(1), np.float32(255), np.float32(np.nan)
INDEX = np.uint64  # a column: of a signed number numba asks whether it counts from the end
FAST = {"contract", "arcp", "nsz"}  # NaN stays what it is
CELLS = 1024  # of a piece of work, whose features stay in the first-level cache
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


@numba.njit(fastmath=FAST, error_model="numpy")
def above(x: float, knot: float) -> float:
    """(x − knot)⁺."""
    return x - knot if x > knot else ZERO


@numba.njit(fastmath=FAST, error_model="numpy")
def odds_of(t: Numbers, feature: float) -> float:
    """Log odds by one feature, see ``Curve``."""
    x = t[1] if feature > t[1] else feature
    low = t[0] + t[7] * above(x, t[2]) + t[8] * above(x, t[3])
    return low + t[9] * above(x, t[4]) + t[10] * above(x, t[5]) + t[11] * above(x, t[6])


@numba.njit(fastmath=FAST, error_model="numpy")
def probability(odds: float) -> float:
    """Of log odds."""
    return ONE / (ONE + exponential(-odds))


@cached_njit(nogil=True, fastmath=FAST, error_model="numpy")
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
    pixels, and ``odds [h, w]``, log odds of refined ones. Pieces of work are taken from ``counter``. A loop adds two curves at
    most: the numbers of more do not fit into a processor's registers, and it would take three times as long."""
    edges, wide_edges, doubts, levels, bends = edge.ravel(), wide_edge.ravel(), doubt.ravel(), level.ravel(), bend.ravel()
    plain, chosen = likely.ravel(), odds.ravel()
    e, w, d, b = np.empty((4, CELLS), np.float32)
    while True:
        start = fetch_add(counter, CELLS)
        if start >= level.size:
            return
        n = min(CELLS, level.size - start)
        stop = start + n
        at, told, other = levels[start:stop], plain[start:stop], chosen[start:stop]
        for feature, values, half in (
            (e, edges, halves[0]),
            (w, wide_edges, halves[1]),
            (d, doubts, halves[2]),
            (b, bends, halves[3]),
        ):
            given = values[start:stop]
            for i in range(n):
                feature[i] = given[i] / (given[i] + half)
        for i in range(n):
            told[i] = frame[0] + odds_of(kept[0], e[i]) + odds_of(kept[1], w[i])
        for i in range(n):
            told[i] += odds_of(kept[2], d[i]) + odds_of(kept[3], at[i])
        for i in range(n):
            told[i] = probability(told[i] + odds_of(kept[4], b[i]))
        for i in range(n):
            other[i] = frame[1] + odds_of(refined[0], e[i]) + odds_of(refined[1], w[i])
        for i in range(n):
            other[i] += odds_of(refined[2], d[i]) + odds_of(refined[3], at[i])
        for i in range(n):
            other[i] += odds_of(refined[4], b[i])


@cached_njit(nogil=True, fastmath=FAST, error_model="numpy")
def fill_frame(
    depth: np.ndarray,
    base: np.ndarray,
    indices: np.ndarray,
    entropy: np.ndarray,
    gate: np.ndarray,
    likely: np.ndarray,
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
    """Probabilities of all pixels: fills ``out [H, W]``, NaN where depth ``[H, W]`` is.

    Kept pixels have the bilinear values of ``likely [h, w]``. indices ``int64 [K]``, increasing: the pixels that a refiner chose
    at, with its entropy and gate ``[K]``, and the base depth ``[H, W]``; odds ``[h, w]``: their log odds by the cell; steps and
    choice: ``tabulated`` curves; near, wide: reach of the steps. rows, columns: see ``bilinear_table``. A piece of work, taken
    from ``counter``, is the rows between two of the cells': these are widened once.
    """
    height, width = depth.shape
    low_h, low_w = likely.shape
    tops, downs = rows
    lefts, weights = columns
    upper, rise = np.empty((2, width), np.float32)
    low, high, wide_low, wide_high, change, known, told = np.empty((7, width), np.float32)
    cells = np.empty(low_w + 1, np.float32)
    one, near_by, wide_by, end = INDEX(1), INDEX(near), INDEX(wide), INDEX(width)
    while True:
        top = fetch_add(counter, 1)
        if top >= low_h:
            return
        first, last = np.searchsorted(tops, top), np.searchsorted(tops, top, side="right")
        if first == last:
            continue
        bottom = min(top + 1, low_h - 1)
        here, below = likely[top], likely[bottom]
        for x in range(width):
            left = lefts[x]
            right = min(left + 1, low_w - 1)
            a, b = here[left] + (here[right] - here[left]) * weights[x], below[left] + (below[right] - below[left]) * weights[x]
            upper[x], rise[x] = a, b - a
        stop = np.searchsorted(indices, first * width)
        for y in range(first, last):
            down, line, made = downs[y], depth[y], out[y]
            for x in range(width):
                value = upper[x] + rise[x] * down
                made[x] = value if line[x] == line[x] else UNKNOWN

            start, begin = stop, y * width
            while stop < indices.size and indices[stop] < begin + width:
                stop += 1
            if start == stop:
                continue
            at, doubts, kept, n = indices[start:stop], entropy[start:stop], gate[start:stop], INDEX(stop - start)
            for x in range(low_w):
                cells[x] = odds[top, x] + (odds[bottom, x] - odds[top, x]) * down
            cells[low_w] = cells[low_w - 1]
            before = base[y]
            above_near, below_near = depth[y - near if y >= near else y], depth[y + near if y + near < height else y]
            above_wide, below_wide = depth[y - wide if y >= wide else y], depth[y + wide if y + wide < height else y]
            for i in range(n):
                x = INDEX(at[i] - begin)
                left = INDEX(lefts[x])
                low[i], high[i] = _ends(line, above_near, below_near, x, near_by, end)
                wide_low[i], wide_high[i] = _ends(line, above_wide, below_wide, x, wide_by, end)
                change[i] = abs(line[x] - before[x]) / (line[x] + before[x])
                told[i] = cells[left] + (cells[left + one] - cells[left]) * weights[x]
            for i in range(n):
                step = (high[i] - low[i]) / (high[i] + low[i])
                wide_step = (wide_high[i] - wide_low[i]) / (wide_high[i] + wide_low[i])
                told[i] += odds_of(steps[0], step) + odds_of(steps[1], wide_step)
                known[i] = step + wide_step + change[i]  # NaN where one is, which a curve lets pass
            for i in range(n):
                told[i] += odds_of(choice[0], doubts[i]) + odds_of(choice[1], kept[i])
            for i in range(n):
                told[i] = probability(told[i] + odds_of(choice[2], change[i]))
            for i in range(n):
                made[INDEX(at[i] - begin)] = told[i] if known[i] == known[i] else UNKNOWN


@numba.njit(fastmath=FAST, error_model="numpy")
def _ends(line: np.ndarray, up: np.ndarray, down: np.ndarray, x: int, reach: int, end: int) -> tuple[float, float]:
    """Nearest and farthest of ``features.steps`` at column ``x`` of a row of depth, of those ``reach`` columns away, and of the
    rows above and below; where there is none, the pixel itself stands for it; NaN goes beyond nothing."""
    here = line[x]
    left, right = line[x - reach if x >= reach else x], line[x + reach if x + reach < end else x]
    low = left if left < here else here
    high = left if left > here else here
    low, high = right if right < low else low, right if right > high else high
    low, high = up[x] if up[x] < low else low, up[x] if up[x] > high else high
    return down[x] if down[x] < low else low, down[x] if down[x] > high else high


@cached_njit(nogil=True)
def fill_cut(depth: np.ndarray, confidence: np.ndarray, least: float, out: np.ndarray, counter: np.ndarray) -> None:
    """depth ``[H, W]``, NaN where confidence is below ``least``: fills ``out [H, W]``, row by row, taken from ``counter``."""
    while True:
        y = fetch_add(counter, 1)
        if y >= len(depth):
            return
        line, told, made = depth[y], confidence[y], out[y]
        for x in range(line.size):
            made[x] = UNKNOWN if told[x] < least else line[x]


@cached_njit(nogil=True)
def fill_8bit(confidence: np.ndarray, out: np.ndarray, counter: np.ndarray) -> None:
    """0…255 for 0…1, and 0 for NaN: fills ``uint8 out [H, W]``, row by row, taken from ``counter``."""
    while True:
        y = fetch_add(counter, 1)
        if y >= len(confidence):
            return
        told, made = confidence[y], out[y]
        for x in range(told.size):
            value = told[x] if told[x] == told[x] else ZERO
            made[x] = np.uint8(np.rint(value * SCALE))
