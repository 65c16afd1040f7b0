"""A slot of one: whoever is late gets the newest item, and what was overwritten is counted, never queued."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """Hands the newest item from any number of producers to one consumer.

    condition: the lock that guards slot and counts; pass one in to read them in the same breath as other counters.
    At any moment under it: ``received == dropped + taken + waiting``.
    """

    def __init__(self, condition: threading.Condition | None = None) -> None:
        self.condition = condition or threading.Condition()
        self.received = 0
        self.dropped = 0
        self.taken = 0
        self.closed = False
        self._item: T | None = None

    @property
    def waiting(self) -> int:
        """Items put and not yet taken: 0 or 1."""
        return int(self._item is not None)

    def put(self, item: T) -> bool:
        """Store ``item`` and drop what was waiting. False where the slot is closed: the item is then neither kept nor counted."""
        with self.condition:
            if self.closed:
                return False
            self.received += 1
            self.dropped += self.waiting
            self._item = item
            self.condition.notify_all()
            return True

    def take(self, timeout_s: float | None = None, unless: Callable[[], bool] = lambda: False) -> T | None:
        """The newest item, waited for; None once the slot is closed, after ``timeout_s`` [s] without one, or while ``unless`` holds
        and none is there. Whoever makes that true notifies the condition."""
        with self.condition:
            self.condition.wait_for(lambda: self.closed or self._item is not None or unless(), timeout_s)
            item, self._item = self._item, None
            self.taken += int(item is not None)
            return item

    def close(self) -> None:
        """Refuse further items, drop and count the one that waits, and wake whoever waits for one. May be called again."""
        with self.condition:
            self.dropped += self.waiting
            self._item = None
            self.closed = True
            self.condition.notify_all()
