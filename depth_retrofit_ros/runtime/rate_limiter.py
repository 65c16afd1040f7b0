"""An upper limit on how often something is done, whose mean is exact however the opportunities fall."""

from __future__ import annotations


class RateLimiter:
    """Grants at most ``rate_hz`` occasions per second. Not thread-safe: one limiter, one thread."""

    def __init__(self) -> None:
        self._grid_s = float("-inf")  # when the last granted occasion was due

    def due(self, rate_hz: float, now_s: float) -> bool:
        """Whether to do it at ``now_s`` [s] of the monotonic clock; rate_hz: 0 for always. It may change at any call.

        Grants keep to a grid of the period: one that comes late does not push back the next. A grid point that was missed
        altogether is not made up for.
        """
        if rate_hz <= 0:
            self._grid_s = now_s
            return True
        period_s = 1.0 / rate_hz
        due_s = self._grid_s + period_s
        if now_s < due_s:
            return False
        self._grid_s = due_s if now_s - due_s < period_s else now_s
        return True
