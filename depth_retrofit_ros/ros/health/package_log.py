"""What the package itself logs, in the node's log: on the screen, in its file and on ``/rosout``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.impl.rcutils_logger import RcutilsLogger

PACKAGE = "depth_retrofit_ros"


class _NodeHandler(logging.Handler):
    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        # A line each: rclpy tells callers apart by their line, and lets each log at one level only.
        if record.levelno >= logging.ERROR:
            self._logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


class _Blocks:
    """Those that are open, of any thread: a configuration that is given up goes on in its own, beside the next one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[logging.Handler] = []
        self._before: tuple[list[logging.Handler], int] = ([], logging.NOTSET)

    def enter(self, handler: _NodeHandler) -> None:
        log = logging.getLogger(PACKAGE)
        with self._lock:
            if not self._open:
                self._before = log.handlers, log.level
            self._open.append(handler)
            log.handlers, log.level = [handler], logging.INFO

    def leave(self, handler: _NodeHandler) -> None:
        log = logging.getLogger(PACKAGE)
        with self._lock:
            self._open.remove(handler)
            log.handlers, log.level = ([self._open[-1]], logging.INFO) if self._open else self._before


_BLOCKS = _Blocks()


@contextmanager
def package_log(logger: RcutilsLogger) -> Iterator[None]:
    """A block in which the package's log goes to ``logger``, from ``INFO`` on, and nowhere else; of several that are open at once,
    to that of the one that was opened last."""
    handler = _NodeHandler(logger)
    _BLOCKS.enter(handler)
    try:
        yield
    finally:
        _BLOCKS.leave(handler)
