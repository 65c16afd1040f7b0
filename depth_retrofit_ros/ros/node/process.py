"""The depth node as a process of its own, as a robot runs it, and what else of the graph runs beside us."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

from depth_retrofit_ros.errors import GraphError
from depth_retrofit_ros.io.depth_files import writing
from depth_retrofit_ros.ros.environment import thread_variables

_LOG_PREFIX = re.compile(r"^\[(?:ERROR|FATAL)\] \[[^]]*\] \[[^]]*\]: ")
_FORCE = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))  # signal, seconds until the next


_Process = TypeVar("_Process", bound="ChildProcess")


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """SIGINT and SIGTERM take effect at the end: one that interrupted Popen would leave a process that nobody ends.

    Blocking them would not do: the new process would inherit that. Python handles signals in its main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


class ChildProcess:
    """``with ChildProcess(name, module, arguments, environment, log) as process: ...`` starts it, and ends it whatever happens.

    name: what to call it in errors; module: as after ``python -m``; arguments: after that; environment: added to ours; log: file
    that takes its stdout and stderr.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._name = name
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = {**os.environ, **thread_variables(os.environ), **environment, "PYTHONUNBUFFERED": "1"}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self: _Process) -> _Process:
        try:
            with writing(self._log), self._log.open("wb") as log, _signals_deferred():
                # A session of its own: Ctrl-C in the terminal reaches us alone, and we end the node in order.
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        except BaseException:  # a deferred signal: nobody else knows of the process yet
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def require_alive(self) -> None:
        """Raises GraphError with its own last error, where it has ended."""
        if self.exit_code is not None:
            raise GraphError(f"{self._name} ended with code {self.exit_code}: {self.last_error()} (log: {self._log})")

    def last_error(self) -> str:
        """The last line of its log that tells an error, else the last line."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if _LOG_PREFIX.match(line) or "error:" in line.lower()]
        last = (errors or lines or ["it said nothing"])[-1]
        return _LOG_PREFIX.sub("", last)

    def stop(self) -> int | None:
        """SIGINT, which it takes as the wish to end; more force where that does not help within seconds. Returns the exit code."""
        process = self._process
        if process is None:
            return None
        for number, patience_s in _FORCE:
            if process.poll() is not None:
                break
            process.send_signal(number)
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        return process.returncode


class NodeProcess(ChildProcess):
    """The depth node.

    arguments: such as ``--ros-args -p model:=compact``; environment, log: see ``ChildProcess``. module: which of ``ros.node`` it
    runs: ``main``, or ``cameras_main`` for several cameras.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, module: str = "main") -> None:
        super().__init__("the depth node", f"depth_retrofit_ros.ros.node.{module}", arguments, environment, log)
