"""How much of one thread's time each of those who share it uses, and how much each may."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable

WINDOW_S = 4.0  # who has used none for so long has stopped, and leaves its share to the others


class TimeShares:
    """Of the last ``WINDOW_S`` seconds. Not thread-safe: used by the thread whose time it is. ``clock_s``: a monotonic one."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._since_s = clock_s()
        self._spans: deque[tuple[Hashable, float, float]] = deque()  # who, from when, until when [s]; the oldest first

    def used(self, who: Hashable, begin_s: float, end_s: float) -> None:
        """``who`` had the thread from ``begin_s`` to ``end_s`` [s] of the clock."""
        self._spans.append((who, begin_s, end_s))
        self._forget(self._clock_s() - WINDOW_S)

    def share(self, who: Hashable) -> float:
        """The part of the time, 0…1, that ``who`` may use: an equal one among those who used any, or what the others leave, where
        that is more. 1 for who is alone."""
        now_s = self._clock_s()
        self._forget(now_s - WINDOW_S)
        window_s = max(min(WINDOW_S, now_s - self._since_s), 1e-9)
        others = {other for other, _, _ in self._spans if other != who}
        if not others:
            return 1.0
        begin_s = now_s - window_s
        taken_s = sum(end_s - max(first_s, begin_s) for other, first_s, end_s in self._spans if other != who)
        return max(1.0 / (1 + len(others)), 1.0 - taken_s / window_s)

    def _forget(self, before_s: float) -> None:
        while self._spans and self._spans[0][2] < before_s:
            self._spans.popleft()
