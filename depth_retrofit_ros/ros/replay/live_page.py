"""The live page beside a run: ``depth-retrofit view --web``, in a process of its own, so that what is measured stays the node's."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.ros.node.process import ChildProcess

HOST = "127.0.0.1"
_START_S = 30.0
_ADDRESS = re.compile(rf"http://{re.escape(HOST)}:\d+\S*")  # what it imports may print other links


class LivePage(ChildProcess):
    """The page of the depth node in this process's ROS domain, on this machine alone. port: see ``choose_port``; log: see
    ``ChildProcess``."""

    def __init__(self, port: int, log: Path) -> None:
        super().__init__("the live page", "depth_retrofit_ros", ["view", "--web", "--host", HOST, "--port", str(port)], {}, log)
        self._log_file = log

    def wait(self) -> str:
        """Where it is, or why there is none, one line: the run goes on without."""
        until_s = time.monotonic() + _START_S
        while self.exit_code is None and time.monotonic() < until_s:
            if found := _ADDRESS.search(self._log_file.read_text(errors="replace")):
                return f"live at {found[0]} as long as it runs: open it in a browser"
            time.sleep(0.1)
        why = self.last_error() if self.exit_code is not None else f"it was not there after {_START_S:.0f} s"
        return f"no live page: {why} (log: {self._log_file})"


def has_viser() -> bool:
    """Whether what serves the page is installed."""
    return find_spec("viser") is not None


def choose_port(asked: int | None, usual: int) -> int:
    """The one that was asked for, which must be free; without, the usual one or, where that is taken, any that is free.

    Raises OutputError.
    """
    if asked is None:
        return _free(usual) or _free(0)
    if not _free(asked):
        raise OutputError(f"cannot serve the live page at {HOST} port {asked} (it is taken): choose another --port, or --no-web")
    return asked


def _free(port: int) -> int:
    """That port; of 0, some free one; 0 where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    return 0
