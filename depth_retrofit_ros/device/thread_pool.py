"""Threads for compiled kernels that hand out their own work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from numba import types
from numba.extending import intrinsic


class ThreadPool:
    """As many threads as torch uses (``torch.set_num_threads``, ``OMP_NUM_THREADS``), the calling one among them.

    Work is not divided beforehand: each thread takes the next piece when it is done with one. OpenMP's static schedule waits at
    every barrier for the unluckiest thread, which on a busy machine takes many times as long; here a thread that does not get to
    run costs nothing, because nobody waits for one that has not begun.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._helpers: ThreadPoolExecutor | None = None
        self._size = 1

    def run(self, work: Callable[[], object]) -> None:
        """Call ``work``, which takes pieces until none is left, on every thread; returns when all pieces are done."""
        with self._lock:
            self._resize(torch.get_num_threads())
            futures = [] if self._helpers is None else [self._helpers.submit(work) for _ in range(self._size - 1)]
        try:
            work()
        finally:  # an interrupted caller must not free what a helper still writes to
            for future in futures:
                if not future.cancel():
                    future.result()

    def _resize(self, size: int) -> None:
        if size == self._size:
            return
        if self._helpers is not None:
            self._helpers.shutdown()
        self._helpers = ThreadPoolExecutor(size - 1, "depth_retrofit") if size > 1 else None
        self._size = size


THREAD_POOL = ThreadPool()


@intrinsic
def fetch_add(typing_context: Any, counter: Any, step: Any) -> tuple[Any, Callable[..., Any]]:
    """Add ``step`` to ``counter[0]`` (``int64 [1]``) atomically and return what it was: a piece of work for this thread alone."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", start, args[1], "monotonic")

    return types.int64(counter, types.int64), generate
