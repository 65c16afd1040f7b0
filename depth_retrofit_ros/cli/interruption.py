"""SIGINT and SIGTERM for a command: its stack unwinds, so that what it started ends with it, and one line is said of it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_AGAIN_S = 0.05
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(BaseException):
    """Raised in the main thread, wherever that is. No ``Exception``: what deals with a failure must not take it for one."""


class Interruption:
    """What came of the signals while a command ran. number: the first that came, None if none did."""

    def __init__(self) -> None:
        self.number: signal.Signals | None = None

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
        raise Interrupted

    def disarm(self) -> None:
        """The stack is unwound, and the process about to end: a further signal has nothing to add."""
        for number in _WORDS:
            signal.signal(number, signal.SIG_IGN)

    def on_unraisable(self, unraisable: Any) -> None:
        """What compiled code's callback or a destructor swallowed: an interruption comes again a little later, without a word."""
        if not isinstance(unraisable.exc_value, Interrupted):
            sys.__unraisablehook__(unraisable)
        elif self.number is not None:
            threading.Timer(_AGAIN_S, signal.pthread_kill, (threading.main_thread().ident, self.number)).start()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """A block in the main thread in which SIGINT and SIGTERM raise ``Interrupted``; handlers that it leaves behind stay."""
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
