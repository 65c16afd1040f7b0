"""The budget that holds a rate, on machines whose speed is known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from depth_retrofit_ros.runtime.governor import PATIENCE, REMEMBERED, BudgetGovernor, budgets

MOST, LEAST = 0.1, 0.02


class Machine:
    """A frame takes ``load · (20 + 600 · budget)`` ms, and waits for its turn where there is time left."""

    def __init__(self, target_fps: float = 14.0) -> None:
        self.governor, self.target_fps, self.load = BudgetGovernor(), target_fps, 1.0

    def frame(self, extra_ms: float = 0.0) -> tuple[float, float]:
        """One frame; its budget and how long it kept the machine busy [ms]."""
        budget = self.governor.budget(self.target_fps, MOST, LEAST)
        per_pixel = self.load * 600 * budget
        total = self.load * 20 + per_pixel + extra_ms
        self.governor.took(budget, per_pixel, total)
        return budget, total

    def frames(self, count: int) -> list[tuple[float, float]]:
        return [self.frame() for _ in range(count)]


def rate(frames: list[tuple[float, float]], target_fps: float) -> float:
    return 1e3 / (sum(max(total, 1e3 / target_fps) for _, total in frames) / len(frames))


def test_the_list() -> None:
    steps = budgets(0.1, 0.02)
    assert steps[0] == 0.1 and steps[-1] == 0.02 and steps[2] == pytest.approx(0.05)
    ratios = [b / a for a, b in pairwise(steps)]
    assert all(ratio == pytest.approx(math.sqrt(0.5)) for ratio in ratios[:-1]) and math.sqrt(0.5) <= ratios[-1] < 1
    assert budgets(0.1, 0.1) == budgets(0.1, 0.5) == budgets(0.1, 0.0) == (0.1,) and budgets(0.0, 0.02) == (0.0,)
    assert budgets(0.1, 0.05) == pytest.approx((0.1, 0.1 * math.sqrt(0.5), 0.05))


def test_without_a_target_or_a_span_the_budget_stays() -> None:
    machine = Machine(target_fps=0.0)
    machine.load = 100.0
    assert {budget for budget, _ in machine.frames(20)} == {MOST}
    governor = BudgetGovernor()
    for _ in range(20):
        assert governor.budget(30.0, 0.1, 0.1) == 0.1
        governor.took(0.1, 500.0, 600.0)
    assert governor.overloaded


def test_a_machine_that_is_fast_enough_refines_all() -> None:
    machine = Machine(target_fps=10.0)
    assert {budget for budget, _ in machine.frames(50)} == {MOST}
    assert not machine.governor.overloaded


@pytest.mark.parametrize("load", [1.3, 2.0])
def test_under_load_the_rate_is_held_the_budget_falls_and_comes_back(load: float) -> None:
    machine = Machine(target_fps=10.0)
    assert machine.frames(20)[-1][0] == MOST
    machine.load = load
    machine.frames(REMEMBERED)  # that is how long it takes to believe it
    loaded = machine.frames(100)
    assert rate(loaded, 10.0) > 0.99 * 10 and all(budget < MOST for budget, _ in loaded)
    # Not lower than need be: two steps up would not have held it.
    assert load * (20 + 600 * loaded[-1][0] * 2) > 1e3 / 10
    machine.load = 1.0
    assert machine.frames(3 * PATIENCE)[-1][0] == MOST


def test_one_slow_frame_changes_nothing() -> None:
    machine = Machine(target_fps=10.0)
    machine.frames(10)
    machine.frame(extra_ms=500)
    machine.frame(extra_ms=500)
    assert {budget for budget, _ in machine.frames(30)} == {MOST}


def test_what_cannot_be_held_is_told_and_what_helps_is_still_done() -> None:
    machine = Machine()
    machine.load = 10.0
    assert machine.frames(20)[-1][0] == LEAST and machine.governor.overloaded
    machine.load = 1.0
    machine.frames(REMEMBERED + 1)
    assert not machine.governor.overloaded


def test_where_more_proves_too_much_it_is_tried_more_and_more_rarely() -> None:
    """A machine on which small budgets look cheaper than they are: per pixel a large one takes twice as long."""
    governor, rises, last = BudgetGovernor(), [], MOST
    for number in range(2000):
        budget = governor.budget(10.0, MOST, LEAST)
        if budget > last:
            rises.append(number)
        last = budget
        slope = 500 if budget < 0.09 else 1000
        governor.took(budget, slope * budget, 20 + slope * budget)
    gaps = [b - a for a, b in pairwise(rises)]
    assert len(rises) < 40 and max(gaps) > 4 * PATIENCE


def test_a_new_target_counts_from_the_next_frame_on() -> None:
    machine = Machine(target_fps=30.0)
    assert machine.frames(20)[-1][0] < MOST
    machine.target_fps = 10.0
    assert machine.frame()[0] == MOST, "what frames take is known already"
    machine.target_fps = 0.0
    machine.load = 100.0
    assert {budget for budget, _ in machine.frames(20)} == {MOST}


def test_a_part_of_the_time_is_what_a_frame_may_take() -> None:
    machine = Machine(target_fps=10.0)
    machine.governor.share = 0.5
    shared = machine.frames(100)[-50:]
    assert all(budget < MOST and total <= 0.5 * 1e3 / 10 for budget, total in shared)
    assert max(budget for budget, _ in shared) > LEAST and not machine.governor.overloaded
    machine.governor.share = 1.0  # the others have stopped
    assert machine.frames(3 * PATIENCE)[-1][0] == MOST
    machine.governor.share = 0.2  # 20 ms: less than a frame takes whatever its budget is
    assert machine.frames(2 * REMEMBERED)[-1][0] == LEAST and machine.governor.overloaded
