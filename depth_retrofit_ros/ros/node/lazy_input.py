"""A subscription that is there only while its messages are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.subscription import Subscription

LINGER_S = 2.0  # a viewer that starts again, or looks at another output, must not cost a discovery


class LazyInput:
    """Opens at once, closes ``LINGER_S`` after the last moment in which it was wanted. For one thread, the executor's.

    subscribe: may raise GraphError, which ``refresh`` raises. is_wanted: asked at each ``refresh``: whenever an output gains or
    loses a subscriber where rclpy tells of that, and once a second.
    """

    def __init__(
        self,
        subscribe: Callable[[], Subscription],
        unsubscribe: Callable[[Subscription], None],
        is_wanted: Callable[[], bool],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.subscription: Subscription | None = None
        self._subscribe, self._unsubscribe, self._is_wanted, self._clock_s = subscribe, unsubscribe, is_wanted, clock_s
        self._wanted_s = clock_s()

    def refresh(self) -> None:
        """Open or close, where that is to be done."""
        now_s = self._clock_s()
        if self._is_wanted():
            self._wanted_s = now_s
            if self.subscription is None:
                self.subscription = self._subscribe()
        elif now_s - self._wanted_s >= LINGER_S:
            self.close()

    def close(self) -> None:
        """Now."""
        if self.subscription is not None:
            subscription, self.subscription = self.subscription, None
            self._unsubscribe(subscription)
