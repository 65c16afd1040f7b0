"""Standard output and error that cannot end a command: whatever the locale, on a full disk, or closed."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

PACKAGE = "depth_retrofit_ros"
WAITS = ("device.kernel_cache", "coarse.engines.progress")  # modules that tell why nothing happens for a while: at INFO


class TolerantFile(io.RawIOBase):
    """A file descriptor that takes whatever it is given. error: why the last bytes that are lost could not be written, None if all
    were. A reader that has left is told by BrokenPipeError, as ever: nobody wants the rest."""

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor

    def fileno(self) -> int:
        """See ``io.RawIOBase``."""
        return self._descriptor

    def isatty(self) -> bool:
        """See ``io.RawIOBase``."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """See ``io.RawIOBase``."""
        return True

    def write(self, data: Any, /) -> int:
        """All of it, as far as the caller is concerned."""
        try:
            return os.write(self._descriptor, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.error = error
            return memoryview(data).nbytes


@contextmanager
def tolerant_streams() -> Iterator[TolerantFile | None]:
    """A block in which ``sys.stdout`` and ``sys.stderr`` take any text; yields what is behind the former, None for no descriptor.

    A character that the encoding does not have (a file name that is not UTF-8, a μ in a Latin-1 terminal) is written as its escape.
    A stream that the caller has closed goes nowhere. Warnings of the package, and what it says of a wait, go to
    stderr.
    """
    _occupy_closed_descriptors()
    handler = logging.StreamHandler()
    with ExitStack() as stack:
        out = stack.enter_context(_tolerant("stdout", 1))
        stack.enter_context(_tolerant("stderr", 2))
        handler.setStream(sys.stderr)
        handler.setFormatter(_Formatter())
        logging.getLogger(PACKAGE).addHandler(handler)
        stack.callback(logging.getLogger(PACKAGE).removeHandler, handler)
        for logger in (logging.getLogger(f"{PACKAGE}.{module}") for module in WAITS):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.INFO)
        yield out


class _Formatter(logging.Formatter):
    """A line as a command says it."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        kind = "warning: " if record.levelno >= logging.WARNING else ""
        return f"depth-retrofit: {kind}{super().format(record)}"


@contextmanager
def _tolerant(name: str, descriptor: int) -> Iterator[TolerantFile | None]:
    before = getattr(sys, name)
    try:
        descriptor = descriptor if before is None else before.fileno()
    except (OSError, ValueError):  # io.UnsupportedOperation is both: it is in memory, where nothing fails
        yield None
        return
    if before is not None:
        before.flush()
    file = TolerantFile(descriptor)
    encoding = "utf-8" if before is None else before.encoding
    lines = file.isatty() or name == "stderr"
    stream = io.TextIOWrapper(io.BufferedWriter(file), encoding, "backslashreplace", line_buffering=lines)
    setattr(sys, name, stream)
    try:
        yield file
    finally:
        setattr(sys, name, before)
        try:
            stream.flush()
        except BrokenPipeError:  # the flush of the object's end must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        stream.detach()


def _occupy_closed_descriptors() -> None:
    """A descriptor that is free would become the next file that is opened, and take what libraries print to it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
