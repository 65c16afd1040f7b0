"""How long things take, how fast this machine moves memory, and figures as files keep them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

COPIED = 256 << 20  # bytes; far more than any cache holds, as the images of several frames are


def figures(times_ms: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the least [ms], and how many there were."""
    p50, p99 = np.percentile(times_ms, (50, 99))
    return {"ms_p50": float(p50), "ms_p99": float(p99), "ms_min": float(min(times_ms)), "count": len(times_ms)}


def repeat(work: Callable[[], object], rounds: int, seconds: float = float("inf")) -> list[float]:
    """Wall time [ms] of each call, after one that does not count; at least one, and no new one after ``seconds``."""
    work()
    begin = time.perf_counter()
    times: list[float] = []
    while len(times) < rounds and (not times or time.perf_counter() - begin < seconds):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def memcpy_gbps(rounds: int = 10) -> float:
    """Bytes that one thread copies from memory to memory [GB/s], median."""
    source, target = np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)
    return COPIED / 1e6 / float(np.median(repeat(lambda: np.copyto(target, source), rounds)))


def rounded(value: Any) -> Any:
    """A document with numbers of four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value
