"""A node that cannot start says why; one that will not end is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from depth_retrofit_ros.errors import GraphError, OutputError
from depth_retrofit_ros.ros.node import process as node_process
from depth_retrofit_ros.ros.node.process import NodeProcess
from test.waiting import PATIENCE_S, wait_until


def stand_in(tmp_path: Path, program: str) -> NodeProcess:
    process = NodeProcess([], {}, tmp_path / "node.log")
    process._command = [sys.executable, "-c", program]
    return process


def test_the_last_error_of_the_log_is_told(tmp_path: Path) -> None:
    lines = ("[INFO] [1.5] [n]: loading", "[ERROR] [1.6] [n]: cannot configure: no weights", "[INFO] [1.7] [n]: bye")
    with stand_in(tmp_path, f"print({chr(10).join(lines)!r}); raise SystemExit(1)") as process:
        assert process._process is not None
        process._process.wait(PATIENCE_S)
        with pytest.raises(GraphError, match=r"ended with code 1: cannot configure: no weights \(log: .*node\.log\)"):
            process.require_alive()


def test_a_node_without_a_word(tmp_path: Path) -> None:
    with stand_in(tmp_path, "") as process:
        assert process._process is not None
        process._process.wait(PATIENCE_S)
        with pytest.raises(GraphError, match="ended with code 0: it said nothing"):
            process.require_alive()


def test_one_that_ignores_signals_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_process, "_FORCE", ((signal.SIGINT, 0.3), (signal.SIGTERM, 0.3), (signal.SIGKILL, PATIENCE_S)))
    deaf = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('deaf', flush=True); time.sleep(600)"
    with stand_in(tmp_path, deaf) as process:

        def has_spoken() -> bool:
            process.require_alive()
            return "deaf" in (tmp_path / "node.log").read_text()

        wait_until(has_spoken, "its first word")
        assert process.stop() == -9
    assert process.exit_code == -9


def test_a_signal_while_it_is_started_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with SIGINT ignored
    try:
        with pytest.raises(KeyboardInterrupt), stand_in(tmp_path, "import time; time.sleep(600)"):
            pytest.fail("must not get here")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert started[0].poll() is not None


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"), NodeProcess([], {}, tmp_path / "absent" / "node.log"):
        pass


@pytest.mark.parametrize(("given", "waits"), [({}, "1000 -"), ({"OMP_WAIT_POLICY": "active"}, "- active")])
def test_its_idle_threads_sleep_unless_the_user_says_how_they_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], waits: str
) -> None:
    """As those of a node that ROS starts: where they spin, two nodes on two cores take five times the processor time."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, given[name]) if name in given else None
    told = "import os; print(*(os.environ.get(name, '-') for name in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')))"
    process = NodeProcess([], {}, tmp_path / "node.log")
    process._command = [sys.executable, "-c", told]
    with process:
        assert process._process is not None and process._process.wait(60) == 0
    assert (tmp_path / "node.log").read_text().split("\n")[0] == waits
