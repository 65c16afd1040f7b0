"""glibc's allocator, set up for big messages that come and go."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class _Option:
    """number: mallopt's. name: in the variable ``GLIBC_TUNABLES``; variable: one of its own, which glibc reads, too.
    values: the best first; the next where that is refused."""

    number: int
    name: str
    variable: str
    values: tuple[int, ...]


_OPTIONS = (
    # Some releases refuse a threshold above half of a thread's heap.
    _Option(-3, "mmap_threshold", "MALLOC_MMAP_THRESHOLD_", (1 << 30, 32 * _MB)),
    _Option(-1, "trim_threshold", "MALLOC_TRIM_THRESHOLD_", (2_000_000_000,)),
    _Option(-2, "top_pad", "MALLOC_TOP_PAD_", (64 * _MB,)),
    _Option(-8, "arena_max", "MALLOC_ARENA_MAX", (1,)),
)


def keep_large_buffers(environ: Mapping[str, str]) -> None:
    """Let glibc reuse the memory of big messages; unmapping and faulting it in again is half of what they cost.

    From one heap for all threads: with one each, the process would hold the sum of what each ever needed at once, not the most that
    all did, and creep towards it for half an hour. What the user chose in ``environ`` stays. Prints one line to stderr where glibc
    refuses, as another allocator's mallopt may.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and (refused := apply_settings(mallopt, environ)):  # else it is not glibc
        print(f"the allocator refuses {', '.join(refused)}: large messages take longer, and memory may creep up", file=sys.stderr)


def apply_settings(mallopt: Callable[[int, int], int], environ: Mapping[str, str]) -> list[str]:
    """Set what the user did not; returns the names of what was refused. mallopt: glibc's, which answers 0 where it refuses."""
    chosen = _chosen(environ)
    options = [option for option in _OPTIONS if option.name not in chosen]
    return [option.name for option in options if not any(mallopt(option.number, value) for value in option.values)]


def _chosen(environ: Mapping[str, str]) -> set[str]:
    """The names of what the user set, in either way."""
    tunables = (part.partition("=")[0] for part in environ.get("GLIBC_TUNABLES", "").split(":"))
    own = {option.name for option in _OPTIONS if environ.get(option.variable)}
    return own | {name.removeprefix("glibc.malloc.") for name in tunables}
