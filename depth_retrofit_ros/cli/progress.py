"""Progress on one line of a terminal, or as separate lines now and then where the output goes to a file."""

from __future__ import annotations

import sys
import time

_LOG_EVERY_S = 5.0


class Progress:
    """``show`` what happens now; ``say`` what shall stay."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._shown = 0
        self._logged_s = float("-inf")

    def show(self, text: str) -> None:
        """Replace the line shown before; without a terminal, print at most every few seconds."""
        if self._terminal:
            print("\r" + text.ljust(self._shown), end="", flush=True)
            self._shown = len(text)
        elif time.monotonic() - self._logged_s > _LOG_EVERY_S:
            print(text, flush=True)
            self._logged_s = time.monotonic()

    def clear(self) -> None:
        """Make room for a line that somebody else prints."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", flush=True)
            self._shown = 0

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(text, flush=True)
