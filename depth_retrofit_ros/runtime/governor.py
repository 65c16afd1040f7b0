"""Holds a target rate by refining fewer pixels while the machine is slow, and more again when it is not."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

RATIO = math.sqrt(0.5)  # of neighbouring budgets: two steps down are half the pixels
REMEMBERED = 5  # frames, of which the median counts: one slow frame is no slow machine
TIGHT, ROOMY = 0.95, 0.85  # of the period: a budget that takes more is given up; one that would take less is tried
PATIENCE = 10  # frames that a larger budget must have looked affordable for; doubled where it proves not to be
LONGEST_PATIENCE = 160


class BudgetGovernor:
    """Chooses each frame's budget from a list, the largest that the target rate allows.

    The time of a frame is taken as ``fixed + slope · budget``: both are known from what the last frames took as a whole and in
    the stages whose work is the refined pixels. So one step takes it to the budget that fits, however far that is. Not
    thread-safe: used by the one who processes frames.
    """

    def __init__(self) -> None:
        self._fixed_ms: deque[float] = deque(maxlen=REMEMBERED)
        self._slopes_ms: deque[float] = deque(maxlen=REMEMBERED)
        self._asked: tuple[float, float, float] | None = None
        self._budgets: tuple[float, ...] = ()
        self._step = 0
        self._affordable = 0  # how many frames in a row a larger budget looked affordable
        self._patience = PATIENCE
        self._since_rise = LONGEST_PATIENCE
        self.overloaded = False
        """Whether even the smallest budget is too much for the target."""
        self.share = 1.0
        """Of the period, how much a frame may take where the machine is shared, 0…1; it may be changed at any time."""

    def budget(self, target_fps: float, max_budget: float, min_budget: float) -> float:
        """For the next frame. target_fps: 0 for no target; max_budget, min_budget: the span to choose from (a ``min_budget`` of
        0, or from ``max_budget`` on: no choice). Each may change at any call."""
        if (target_fps, max_budget, min_budget) != self._asked:
            self._asked, self._budgets = (target_fps, max_budget, min_budget), budgets(max_budget, min_budget)
            known = target_fps > 0 and self._fixed_ms
            self._step = min(self._fitting(ROOMY * 1e3 / target_fps * self.share), len(self._budgets) - 1) if known else 0
            self._affordable, self._patience, self.overloaded = 0, PATIENCE, False
        return self._budgets[self._step]

    def took(self, budget: float, per_pixel_ms: float, total_ms: float) -> None:
        """What the last frame took: with this budget, ``total_ms``, of which ``per_pixel_ms`` for the refined pixels."""
        if self._asked is None or self._asked[0] <= 0:
            return
        self._fixed_ms.append(total_ms - per_pixel_ms)
        if budget > 0:
            self._slopes_ms.append(per_pixel_ms / budget)
        period_ms = 1e3 / self._asked[0] * self.share
        self._since_rise += 1
        fitting = self._fitting(TIGHT * period_ms)
        self.overloaded = fitting == len(self._budgets)
        if fitting > self._step:
            self._fall(min(fitting, len(self._budgets) - 1))
        elif self._fitting(ROOMY * period_ms) < self._step:
            self._consider_rise(ROOMY * period_ms)
        else:
            self._affordable = 0

    def _fitting(self, available_ms: float) -> int:
        """The first step down the list that takes no more than this; past its end where none does."""
        fixed_ms = float(np.median(self._fixed_ms))
        slope_ms = float(np.median(self._slopes_ms)) if self._slopes_ms else 0.0
        fits = (step for step, budget in enumerate(self._budgets) if fixed_ms + slope_ms * budget <= available_ms)
        return next(fits, len(self._budgets))

    def _fall(self, step: int) -> None:
        if step > self._step and self._since_rise <= REMEMBERED:
            self._patience = min(2 * self._patience, LONGEST_PATIENCE)  # the rise was a mistake
        self._step, self._affordable = step, 0

    def _consider_rise(self, available_ms: float) -> None:
        self._affordable += 1
        if self._affordable >= self._patience:
            self._step, self._affordable, self._since_rise = self._fitting(available_ms), 0, 0
        elif self._since_rise > 4 * self._patience:
            self._patience = PATIENCE


def budgets(max_budget: float, min_budget: float) -> tuple[float, ...]:
    """The list to choose from: ``max_budget``, and down by ``RATIO`` to ``min_budget``."""
    if not 0 < min_budget < max_budget:
        return (max_budget,)
    steps = math.ceil(math.log(min_budget / max_budget) / math.log(RATIO) - 1e-9)
    return (*(max_budget * RATIO**step for step in range(steps)), min_budget)
