"""Line plots as inline SVG: they need no library, no script, and nothing to fetch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 900, 230
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 26, 40
COLORS = ("#888888", "#00a060", "#3366cc", "#cc6633")
_MARKED = 60  # up to so many points each gets a dot


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot; points whose y is not finite interrupt it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def plot(lines: Sequence[Line], x_label: str, y_label: str, x_from: float = 0.0) -> str:
    """The lines from ``x_from`` rightwards and y = 0 upwards; empty where there are not two points to connect."""
    lines = [line for line in lines if sum(map(math.isfinite, line.y)) > 1]
    if not lines:
        return ""
    furthest = max(x for line in lines for x in line.x)
    x_end = (x_from, furthest if furthest > x_from else x_from + 1.0)
    top = max(y for line in lines for y in line.y if math.isfinite(y)) or 1.0
    countable = all(float(x).is_integer() for line in lines for x in line.x)
    parts = [_frame(x_end, top, x_label, y_label, least_step=1.0 if countable else 0.0)]
    for number, line in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        parts.append(_line(line, x_end, top, color))
        left = LEFT + 10 + 190 * number
        parts.append(f'<rect x="{left}" y="6" width="14" height="4" fill="{color}"/>')
        parts.append(f'<text x="{left + 20}" y="13" font-size="13">{escape(line.name)}</text>')
    style = f"display: block; width: 100%; max-width: {WIDTH}px; font-family: sans-serif"  # no wider: its letters are the page's
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" style="{style}">{"".join(parts)}</svg>'


def rate(times_s: Sequence[float], end_s: float) -> Line:
    """Events per second, counted over equal parts of 0 … ``end_s``: of a second where that gives 4 to 60 of them."""
    parts = min(60, max(4, round(end_s)))
    counts, edges = np.histogram(times_s, bins=parts, range=(0.0, end_s))
    return Line("", ((edges[:-1] + edges[1:]) / 2).tolist(), (counts * (parts / end_s)).tolist())


def ticks(end: float, wanted: int = 5, least_step: float = 0.0) -> list[float]:
    """Round numbers from 0 to ``end`` (> 0): steps of 1, 2 or 5 times a power of ten, about ``wanted`` of them, none smaller than
    ``least_step``: 1 where there is nothing between whole numbers."""
    power = 10.0 ** math.floor(math.log10(end / wanted))
    step = max(least_step, next(factor * power for factor in (1, 2, 5, 10) if end / (factor * power) <= wanted))
    return [step * i for i in range(int(end / step + 1e-9) + 1)]


def _at(x: float, y: float, x_end: tuple[float, float], top: float) -> tuple[float, float]:
    along = (x - x_end[0]) / (x_end[1] - x_end[0])
    return LEFT + (WIDTH - LEFT - RIGHT) * along, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top


def _frame(x_end: tuple[float, float], top: float, x_label: str, y_label: str, least_step: float) -> str:
    parts = []
    for value in ticks(top):
        _, y = _at(x_end[0], value, x_end, top)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" font-size="12" text-anchor="end">{value:g}</text>')
    for value in [tick for tick in ticks(x_end[1], 10, least_step) if tick >= x_end[0]]:
        x, y = _at(value, 0.0, x_end, top)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" font-size="12" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" font-size="12" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="13" font-size="12" text-anchor="end">{escape(y_label)}</text>')
    return "".join(parts)


def _line(line: Line, x_end: tuple[float, float], top: float, color: str) -> str:
    pieces: list[list[str]] = [[]]
    dots = []
    for x, y in zip(line.x, line.y, strict=True):
        if not math.isfinite(y):
            pieces.append([])
            continue
        a, b = _at(x, y, x_end, top)
        pieces[-1].append(f"{a:.1f},{b:.1f}")
        dots.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{color}"/>')
    drawn = "".join(
        f'<polyline points="{" ".join(piece)}" fill="none" stroke="{color}" stroke-width="2"/>' for piece in pieces if piece
    )
    return drawn + ("".join(dots) if len(dots) <= _MARKED else "")
