"""A line in the log from time to time while something takes minutes, so that nobody takes it for hung."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

EVERY_S = 30.0
_LOG = logging.getLogger(__name__)


@contextmanager
def told_while_running(what: str, every_s: float | None = None) -> Iterator[None]:
    """Tell what takes so long, and for how long it has, every ``every_s`` seconds (None: ``EVERY_S``) until the block ends."""
    interval_s = EVERY_S if every_s is None else every_s
    done, start_s = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(interval_s):
            _LOG.info("%s, %.0f s so far", what, time.monotonic() - start_s)

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
