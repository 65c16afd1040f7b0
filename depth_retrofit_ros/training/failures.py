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

from depth_retrofit_ros.errors import DepthRetrofitError, ModelError
from depth_retrofit_ros.io.checkpoints import first_line

_PERIOD_S = 0.5  # between two looks whether another has failed
_GRACE_S = 10.0  # for a process to end by itself once another has failed
_CONNECTED = timedelta(minutes=5)
_KEY = "failed"


@contextmanager
def failing_together(rank: int, host: str, port: int) -> Iterator[None]:
    """A block that ends in every process once it fails in one, with that one's line.

    host, port: of the store of the group, where the first failure is written down. A process that waits for another one, in a
    collective operation of a GPU that nothing interrupts, is ended by a thread that looks there. Raises ModelError where another
    process has failed before.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    stores = [PrefixStore(f"depth_retrofit_{attempt}", TCPStore(host, port, timeout=_CONNECTED)) for _ in range(2)]
    over = threading.Event()
    threading.Thread(target=_watch, args=(stores[0], over, rank), name="failures", daemon=True).start()
    try:
        yield
    except BaseException as error:
        first = _tell(stores[1], f"process {rank}: {first_line(error)}")
        if isinstance(error, DepthRetrofitError | RuntimeError) and not first.startswith(f"process {rank}:"):
            raise ModelError(f"another process of this training has failed, {first}") from None
        raise
    finally:
        over.set()


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
            print(f"depth-retrofit: error: another process of this training has failed, {line}", file=sys.stderr, flush=True)
            for child in multiprocessing.active_children():
                child.terminate()
            os._exit(1)  # what waits for a GPU's collective operation hears no exception
