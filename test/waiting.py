"""Waiting for what another thread or process does: by condition, with a patience that only a failure uses up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

# What works takes a small part of it, also on a busy machine. Less than the time limit of a test, whose end would say less.
PATIENCE_S = 100.0


def wait_until(condition: Callable[[], Any], what: str = "the condition", pause_s: float = 0.005) -> None:
    """Until ``condition`` holds; fails with ``what`` where it does not come."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {PATIENCE_S:g} s in vain for {what}"
        time.sleep(pause_s)


def same_imports() -> dict[str, str]:
    """For the environment of a process that is to import what this one does: the checkout, or what colcon installed."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def run_python(
    *arguments: str, env: Mapping[str, str] | None = None, patience_s: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    """The end of another Python with what it printed; failing is for the caller to judge."""
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=patience_s, check=False)
