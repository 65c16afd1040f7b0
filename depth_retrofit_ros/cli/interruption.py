"""SIGINT and SIGTERM for a command: its stack unwinds, so that what it started ends with it, and one line is said of it."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from depth_retrofit_ros.ros.node.signals import SAME_WISH_S

_AGAIN_S = 0.05
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(BaseException):
    """Raised in the main thread, wherever that is. No ``Exception``: what deals with a failure must not take it for one."""


class Interruption:
    """What came of the signals. number: the first that came, None if none did; between ``arm`` and ``disarm`` it raises.

    Another one within a second is the same wish, and must not break off the unwinding that the first has begun.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.number: signal.Signals | None = None
        self._clock_s = clock_s
        self._armed = False
        self._raised_s = -math.inf

    @property
    def exit_code(self) -> int:
        """What a shell gives a program that a signal ended."""
        return 0 if self.number is None else 128 + self.number

    @property
    def line(self) -> str:
        """What to say of it."""
        return "" if self.number is None else _WORDS[self.number]

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        self.number = self.number or signal.Signals(number)
        if self._armed and self._clock_s() - self._raised_s > SAME_WISH_S:
            self._raise()

    def arm(self) -> None:
        """Whoever catches ``Interrupted`` is ready. Raises it where a signal came before."""
        self._armed = True
        if self.number is not None:
            self._raise()

    def disarm(self) -> None:
        """The command has ended: a further signal has nothing to add."""
        self._armed = False

    def _raise(self) -> NoReturn:
        self._raised_s = self._clock_s()
        raise Interrupted

    def on_unraisable(self, unraisable: Any) -> None:
        """What compiled code's callback or a destructor swallowed: an interruption comes again a little later, without a word."""
        if not isinstance(unraisable.exc_value, Interrupted):
            sys.__unraisablehook__(unraisable)
        elif self.number is not None:
            self._raised_s = -math.inf
            threading.Timer(_AGAIN_S, signal.pthread_kill, (threading.main_thread().ident, self.number)).start()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """A block in the main thread that has SIGINT and SIGTERM, and gives them back where nobody took them from it."""
    interruption = Interruption()
    before = {number: signal.signal(number, interruption.on_signal) for number in _WORDS}
    hook, sys.unraisablehook = sys.unraisablehook, interruption.on_unraisable
    try:
        yield interruption
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            if signal.getsignal(number) == interruption.on_signal:
                signal.signal(number, handler)
