"""Knows when images go in and nothing comes out: an image in work that never ends, or one failure after the other."""

from __future__ import annotations

import time
from collections.abc import Callable

from depth_retrofit_ros.runtime.worker import FrameCounts

PATIENCE_S = 3.0
USUAL_TIMES = 10  # an image that takes so many times the usual is stuck, not slow
FIRST_S = 120.0  # for the first image of a size, where kernels may have to be compiled and tuned for it
BUILDING_S = 3600.0  # for a program of the coarse model: TensorRT's take minutes, on a Jetson tens of them; the log tells of each
IN_A_ROW = 3  # so many failures, and nothing else: fewer are bad images

STUCK = (
    "the image in work does not end, model or device hang: deactivate, configure and activate the node again, or start it anew "
    "(on CUDA look into dmesg for Xid)"
)
FAILING = "every image fails"
FIRST = "the first image of its size or calibration still computes: kernels are compiled and tuned for it, or its rays found"


class Watchdog:
    """To be asked about once a second, by one thread. Durations are seconds of ``clock_s``, a monotonic clock.

    patience_s: how long a state must last before it is told, and how long an image in work is waited for; longer, namely
    ``USUAL_TIMES`` times, where an image usually takes long. first_s: how long at least until one is answered, and while the
    method warms up for another size.
    """

    def __init__(
        self, patience_s: float = PATIENCE_S, first_s: float = FIRST_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience_s = patience_s
        self._first_s = first_s
        self._clock_s = clock_s
        self._before = FrameCounts()
        self._pending_since_s = float("inf")  # without one that ended meanwhile
        self._failed_at_answer = 0  # the count of failures when the last image was answered
        self._failing_since_s = float("inf")
        self._received_s = float("-inf")  # when the last image was seen to have come
        self._warming_since_s: float | None = None
        self._warmed_s = float("-inf")  # when it was last seen to warm up
        self._was_building = False

    def limit_s(self, usual_s: float, is_first: bool = False, is_building: bool = False) -> float:
        """How long an image may be in work. usual_s: what one usually takes; is_first: whether it may be the first of its size;
        is_building: whether a program is being made for it."""
        return max(self._patience_s, USUAL_TIMES * usual_s, self._first_s if is_first else 0.0, BUILDING_S if is_building else 0.0)

    def check(
        self, counts: FrameCounts, usual_s: float, period_s: float, is_warming: bool = False, is_building: bool = False
    ) -> str | None:
        """Why nothing comes out, None where all is well. period_s: of a rate limit, for which an image may wait; 0 for none;
        is_warming: whether the method warms up for a size, which does not count as time of the image; is_building: whether, in a
        warm-up or not, a program or a calibration's rays are being made, which counts as time of neither.

        FIRST is no fault yet. FAILING ends where nothing comes any more: the input's silence is the news then.
        """
        now_s, before = self._clock_s(), self._before
        self._before = counts
        limit_s = self.limit_s(usual_s)
        ended = counts.processed + counts.failed != before.processed + before.failed
        if counts.pending == 0:
            self._pending_since_s = float("inf")
        elif ended or before.pending == 0:
            self._pending_since_s = now_s
        if counts.processed != before.processed:
            self._failed_at_answer, self._failing_since_s = counts.failed, float("inf")
        elif counts.failed > self._failed_at_answer:
            self._failing_since_s = min(self._failing_since_s, now_s)
        if counts.received != before.received:
            self._received_s = now_s
        since_s = self._work_began_s(now_s, is_warming, is_building)
        in_work_s, is_first = now_s - since_s - period_s, counts.processed == 0 or is_warming
        if in_work_s >= self.limit_s(usual_s, is_first, is_building):
            return STUCK
        if in_work_s >= limit_s:
            return FIRST
        failing = counts.failed - self._failed_at_answer >= IN_A_ROW and now_s - self._failing_since_s >= limit_s
        return FAILING if failing and now_s - self._received_s < limit_s else None

    def _work_began_s(self, now_s: float, is_warming: bool, is_building: bool) -> float:
        """Of the image in work, of the warm-up before it, or of what is being built in either."""
        if is_building != self._was_building:
            self._was_building, self._warming_since_s = is_building, None
        if not is_warming and not is_building:
            self._warming_since_s = None
            return max(self._pending_since_s, self._warmed_s)
        if self._warming_since_s is None:
            self._warming_since_s = now_s
        self._warmed_s = now_s
        return self._warming_since_s
