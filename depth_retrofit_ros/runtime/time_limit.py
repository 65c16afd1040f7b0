"""Work that may hang, such as the first use of a device: done in a thread of its own, and waited for no longer than a limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from depth_retrofit_ros.errors import DepthRetrofitError

T = TypeVar("T")


class TookTooLong(DepthRetrofitError):
    """The work has not ended in time. Its thread goes on, with whatever it holds on to."""


def run_within(limit_s: float, work: Callable[[], T], *, name: str, every_s: float, meanwhile: Callable[[float], None]) -> T:
    """What ``work`` returns, or raises. Raises TookTooLong after ``limit_s`` [s].

    name: of the work, in its thread's name and the error. meanwhile: called each ``every_s`` [s] in the caller's thread, with the
    seconds that have passed.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised where it is waited for
            errors.append(error)
        finally:
            ended.set()

    # A daemon: what never ends must not keep a dying process alive.
    threading.Thread(target=run, name=name, daemon=True).start()
    start_s = time.monotonic()
    while not ended.wait(max(0.0, min(every_s, start_s + limit_s - time.monotonic()))):
        passed_s = time.monotonic() - start_s
        if passed_s >= limit_s:
            raise TookTooLong(
                f"{name} did not end within {limit_s:g} s and is given up: start the process anew (on CUDA look into dmesg for Xid)"
            )
        meanwhile(passed_s)
    if errors:
        raise errors[0]
    return results[0]
