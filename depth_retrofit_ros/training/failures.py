"""A process of several that fails ends the others, which would wait for it in vain."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # which lack only the word

from depth_retrofit_ros.device.faults import is_out_of_memory
from depth_retrofit_ros.errors import DepthRetrofitError, ModelError
from depth_retrofit_ros.io.checkpoints import first_line

_PERIOD_S = 0.5  # between two looks whether another has failed
_GRACE_S = 10.0  # for a process to end by itself once another has failed
REACHED = timedelta(minutes=5)  # for processes to find each other
_KEY = "failed"
_INTERRUPTED = "interrupted"


@contextmanager
def reachable() -> Iterator[None]:
    """What needs the other processes. Raises ModelError where one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        why = first_line(error)
        raise ModelError(f"a process of this training cannot be reached ({why}): start all again, with --resume") from None


@contextmanager
def failing_together(rank: int, host: str, port: int) -> Iterator[Store]:
    """A block that ends in every process once it fails in one, with that one's line.

    host, port: of the store of the group, where the first failure is written down; it is also given to the block. A process that
    waits for another one, in a collective operation of a GPU that nothing interrupts, is ended by a thread that looks there. Raises
    ModelError where another process has failed before; one that a launcher has interrupted for it only says so.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    with reachable():
        stores = [PrefixStore(f"depth_retrofit_{attempt}", TCPStore(host, port, timeout=REACHED)) for _ in range(2)]
    over = threading.Event()
    threading.Thread(target=_watch, args=(stores[0], over, rank), name="failures", daemon=True).start()
    try:
        yield stores[1]
    except BaseException as error:
        own = f"process {rank}: {first_line(error) if isinstance(error, Exception) else _INTERRUPTED}"
        first = _tell(stores[1], own)
        if isinstance(error, DepthRetrofitError | RuntimeError) and not first.startswith(f"process {rank}:"):
            raise ModelError(f"another process of this training has failed, {first}") from None
        if not isinstance(error, Exception) and not first.endswith(f": {_INTERRUPTED}"):
            _say(first)
        raise
    finally:
        over.set()


def _say(first: str) -> None:
    print(f"depth-retrofit: error: another process of this training has failed, {first}", file=sys.stderr, flush=True)


def _tell(store: Store, line: str) -> str:
    """Which failure was the first."""
    try:
        return store.compare_set(_KEY, "", line).decode()
    except RuntimeError:  # the store is gone with the process or the launcher that held it
        return line


def _watch(store: Store, over: threading.Event, rank: int) -> None:
    while not over.wait(_PERIOD_S):
        try:
            line = store.get(_KEY).decode() if store.check([_KEY]) else ""
        except RuntimeError:
            line = "the process that held the group together is gone"
        if line and not over.wait(_GRACE_S):
            _say(line)
            for child in multiprocessing.active_children():
                child.terminate()
            os._exit(1)  # what waits for a GPU's collective operation hears no exception
