"""SIGINT and SIGTERM of the node's process, from its first moment to its last: the wish to end it, in order and with code 0.

Nothing is raised into what happens to run. An exception in the middle of an import, of a compiler's callback or of a destructor
comes out as a traceback, or is swallowed there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

SAME_WISH_S = 1.0  # a signal so soon after another is the same one, that took another way
STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Owns both signals from ``install`` on, until the process ends.

    At first there is nothing to end, and a signal ends the process at once. ``leaving_by`` says what else to do then; within
    ``noting`` it waits for the end of the block. After ``finish_first`` whoever works asks ``came`` and comes to an end by itself;
    another signal, more than a second later, does not want to wait for that: it ends the process at once, with code 0 as well.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.came = False
        self._clock_s = clock_s
        self._first_s = 0.0
        self._at_once = True
        self._clean_up: Callable[[], object] = lambda: None

    def install(self) -> None:
        """Take both signals. To be called in the main thread, as the first thing that it does."""
        for number in STOPPING:
            signal.signal(number, self._on_signal)

    def leaving_by(self, clean_up: Callable[[], object]) -> None:
        """From now on ``clean_up`` is called, in the main thread wherever that is, before a signal ends the process."""
        self._clean_up = clean_up

    @contextmanager
    def noting(self) -> Iterator[None]:
        """A block that must not be cut in two: a signal ends the process after it."""
        self._at_once = False
        try:
            yield
        finally:
            self._at_once = True
            if self.came:
                self._leave()

    def finish_first(self) -> None:
        """From now on a signal is only noted."""
        self._at_once = False

    def ignore(self) -> None:
        """Everything is ended: a signal during the rest of the process, in which Python takes itself apart, has nothing to add."""
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now_s = self._clock_s()
        if not self.came:
            self.came, self._first_s = True, now_s
            if self._at_once:
                self._leave()
        elif now_s - self._first_s > SAME_WISH_S:
            self._end()  # cleaning up is what it does not want to wait for

    def _leave(self) -> NoReturn:
        with suppress(Exception):  # half-made as things may be; the code is 0 all the same
            self._clean_up()
        self._end()

    def _end(self) -> NoReturn:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(0)  # not by unwinding whatever was interrupted
