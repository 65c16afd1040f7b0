"""Plots put every point where it belongs."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from depth_retrofit_ros.evaluation.report.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, plot, rate, ticks


def points(svg: str) -> list[list[tuple[float, float]]]:
    ElementTree.fromstring(svg)  # is well-formed
    pairs = [re.findall(r"([\d.]+),([\d.]+)", text) for text in re.findall(r'points="([^"]*)"', svg)]
    return [[(float(x), float(y)) for x, y in line] for line in pairs]


def test_corners() -> None:
    ((first, last),) = points(plot([Line("a", [0.0, 4.0], [0.0, 10.0])], "x", "y"))
    assert first == (LEFT, HEIGHT - BOTTOM) and last == (WIDTH - RIGHT, TOP)
    svg = plot([Line("a", [1, 2, 3], [5.0, 5.0, 5.0])], "frame", "y", x_from=1)
    assert points(svg)[0][0] == (LEFT, TOP) and f"max-width: {WIDTH}px" in svg
    assert re.findall(r'text-anchor="middle">([^<]*)<', svg) == ["1", "2", "3"]  # there is no frame 1.5


def test_what_is_not_known_interrupts_the_line() -> None:
    lines = points(plot([Line("a", [1, 2, 3, 4, 5], [1.0, 2.0, math.nan, 2.0, 1.0])], "x", "y"))
    assert [len(line) for line in lines] == [2, 2]


def test_nothing_to_connect_is_no_plot() -> None:
    assert plot([Line("a", [1.0], [1.0]), Line("b", [1.0, 2.0], [math.nan, 1.0])], "x", "y") == ""
    assert plot([Line("a", [1.0, 1.0], [0.0, 0.0])], "x", "y").startswith("<svg")


def test_names_are_escaped() -> None:
    assert "a &lt; b" in plot([Line("a < b", [0.0, 1.0], [0.0, 1.0])], "x", "y")


def test_rate_counts_per_second() -> None:
    line = rate([0.1 * i for i in range(100)], 10.0)
    assert line.y == pytest.approx([10.0] * 10) and line.x == pytest.approx([0.5 + i for i in range(10)])
    assert sum(rate([0.0, 0.1, 0.2], 0.7).y) * 0.7 / 4 == pytest.approx(3)  # four parts of a short run, none lost


@pytest.mark.parametrize(("end", "expected"), [(10, [0, 2, 4, 6, 8, 10]), (0.7, [0, 0.2, 0.4, 0.6]), (122.3, [0, 50, 100])])
def test_ticks_are_round(end: float, expected: list[float]) -> None:
    assert ticks(end) == pytest.approx(expected)
