"""Rates and percentiles over a bounded window. All times here are durations or readings of a monotonic clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of the values in the window, in their unit; ``count`` of them."""

    p50: float
    p95: float
    p99: float
    count: int


class Window:
    """Percentiles of the last ``size`` values. Thread-safe."""

    def __init__(self, size: int = 300) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        with self._lock:
            self._values.append(value)

    def percentiles(self) -> Percentiles | None:
        """None while there are no values."""
        with self._lock:
            values = list(self._values)
        if not values:
            return None
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        return Percentiles(float(p50), float(p95), float(p99), len(values))


class StageStatistics:
    """A window of wall times [ms] per named stage, in the order in which the stages first appeared. Thread-safe."""

    def __init__(self, size: int = 300) -> None:
        self._size = size
        self._windows: dict[str, Window] = {}

    def add(self, times_ms: Mapping[str, float]) -> None:
        """One frame's stage times."""
        for name, time_ms in times_ms.items():
            self._windows.setdefault(name, Window(self._size)).add(time_ms)

    def percentiles(self) -> dict[str, Percentiles]:
        """Of every stage that ran."""
        found = {name: window.percentiles() for name, window in list(self._windows.items())}
        return {name: values for name, values in found.items() if values is not None}


class RateMeter:
    """Events per second over the last ``window_s`` seconds; falls to zero when events stop. Thread-safe."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._times_s: deque[float] = deque(maxlen=4096)
        self._lock = threading.Lock()

    def tick(self, now_s: float | None = None) -> None:
        """An event happened at ``now_s`` [s] of the monotonic clock."""
        with self._lock:
            self._times_s.append(time.monotonic() if now_s is None else now_s)

    def rate_hz(self, now_s: float | None = None) -> float:
        """Mean rate [Hz] in the window; 0 with fewer than two events in it."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            while self._times_s and now_s - self._times_s[0] > self._window_s:
                self._times_s.popleft()
            if len(self._times_s) < 2:
                return 0.0
            between_s = self._times_s[-1] - self._times_s[0]
            count = len(self._times_s) - 1
            silent_s = now_s - self._times_s[-1]
        # Silence longer than the mean gap is part of the measured time, so the rate fades instead of standing still.
        return count / max(between_s, 1e-9) if silent_s <= between_s / count else count / (between_s + silent_s)


class FrameStatistics:
    """What a stream of frames looks like: rates in and out, age when published, wall time of every stage. Thread-safe."""

    def __init__(self) -> None:
        self._arrivals = RateMeter()
        self._answers = RateMeter()
        self._age_ms = Window()
        self._stages = StageStatistics()

    def arrived(self) -> None:
        """A frame came in."""
        self._arrivals.tick()

    def answered(self, times_ms: Mapping[str, float], age_ms: float) -> None:
        """A frame's result went out, ``age_ms`` after its acquisition."""
        self._answers.tick()
        self._age_ms.add(age_ms)
        self._stages.add(times_ms)

    @property
    def input_hz(self) -> float:
        """Frames that come in per second; 0 once none comes any more."""
        return self._arrivals.rate_hz()

    @property
    def output_hz(self) -> float:
        """Results that go out per second."""
        return self._answers.rate_hz()

    @property
    def age_ms(self) -> Percentiles | None:
        """Age at publication [ms]."""
        return self._age_ms.percentiles()

    @property
    def stages_ms(self) -> dict[str, Percentiles]:
        """Wall time [ms] per stage."""
        return self._stages.percentiles()
