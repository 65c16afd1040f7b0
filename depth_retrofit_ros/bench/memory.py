"""How much memory a piece of work takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def peak_beside(work: Callable[[], object]) -> float:
    """The most memory [MB] that ``work`` takes beside what this process holds before it (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before_mb = _status_mb("VmRSS")
    work()
    # The kernel batches these counters per thread: where a frame takes next to nothing, the peak can read below the start.
    return max(_status_mb("VmHWM") - before_mb, 0.0)


def peak_resident() -> float:
    """The most memory [MB] that was resident since this process began, or since ``peak_beside`` last did (Linux)."""
    return _status_mb("VmHWM")


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024 / 1e6
