"""What the package itself logs, in the node's log: on the screen, in its file and on ``/rosout``."""

from __future__ import annotations

import logging
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


@contextmanager
def package_log(logger: RcutilsLogger) -> Iterator[None]:
    """A block in which the package's log goes to ``logger``, from ``INFO`` on, and nowhere else."""
    log = logging.getLogger(PACKAGE)
    handlers, level = log.handlers, log.level
    log.handlers, log.level = [_NodeHandler(logger)], logging.INFO
    try:
        yield
    finally:
        log.handlers, log.level = handlers, level
