"""Log lines that do not repeat themselves at the camera's rate."""

from __future__ import annotations

import time
from typing import Any

from depth_retrofit_ros.device.faults import is_out_of_memory
from depth_retrofit_ros.errors import DepthRetrofitError

REPEAT_S = 10.0
_LONGEST = 60  # characters of a frame_id
_REMEMBERED = 50  # different texts; a stranger's messages may contain anything


class ThrottledLogger:
    """Speaks through a node's logger; thread-safe as far as single dictionary operations are."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._said: dict[str, str] = {}
        self._said_s: dict[str, float] = {}

    def state(self, topic: str, warning: str | None) -> None:
        """Warn when ``topic`` enters a bad state or changes to another one; ``None`` means that it is well (again)."""
        before = self._said.get(topic, "")
        self._said[topic] = warning or ""
        if warning and warning != before:
            self._logger.warning(warning)
        elif before and not warning:
            self._logger.info(f"{topic} is fine now")

    def failure(self, error: Exception) -> None:
        """A frame failed: the error's line, each text at most every ``REPEAT_S`` seconds; a defect of ours with its type."""
        text = one_line(error)
        if self._is_new(text):
            self._logger.error(text)

    def event(self, text: str) -> None:
        """Something that a user should know of happened, each text at most every ``REPEAT_S`` seconds."""
        if self._is_new(text):
            self._logger.warning(text)

    def _is_new(self, text: str) -> bool:
        now_s = time.monotonic()
        if now_s - self._said_s.get(text, float("-inf")) < REPEAT_S:
            return False
        if len(self._said_s) >= _REMEMBERED:
            self._said_s.clear()
        self._said_s[text] = now_s
        return True


def quoted(text: str) -> str:
    """A stranger's words, fit for a line of ours: short, and without line breaks of their own."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def one_line(error: BaseException) -> str:
    """The message of an error that users can cause; type and first line of any other, with the remedy where memory ran out."""
    if isinstance(error, DepthRetrofitError):
        return str(error)
    text = str(error).strip().splitlines()
    line = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    return f"{line}: free memory, or use a smaller model or budget" if is_out_of_memory(error) else line
