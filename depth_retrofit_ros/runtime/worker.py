"""One thread that turns the newest frame into a result, and counts what became of every frame that came."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from depth_retrofit_ros.runtime.slot import LatestSlot
from depth_retrofit_ros.runtime.worker_thread import WorkerThread

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")

_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """What became of the frames, read at one moment: ``received == processed + dropped + failed + pending``, always."""

    received: int = 0
    processed: int = 0
    dropped: int = 0
    failed: int = 0
    pending: int = 0


class Worker(Generic[T, U]):
    """Takes the newest submitted item, launches it and collects it, in a thread of its own, or in one that it shares.

    launch, collect: do the work and hand the result on; whatever they raise counts the item as failed and goes to ``report``.
    overlap: where launch only sets a device to work, an item that waits is launched before the one in flight is collected; none
    is held back for another that may come.
    report: told about each failure, in the worker's thread; what it raises itself is dropped.
    rate_hz: upper limit of items started per second, 0 for none; may be changed at any time. Items that come in between
    overwrite each other, so that the one taken is the newest.
    advance: a step between the two, as launch and collect: once the item before it is collected, and before the next is launched.
    prepare: a step before launch, which is then given what this makes of the item; T is then either.
    thread: the one that it shares with other workers.
    """

    def __init__(
        self,
        launch: Callable[[T], U],
        collect: Callable[[U], None],
        report: Callable[[Exception], None],
        rate_hz: float = 0.0,
        name: str = "worker",
        overlap: bool = False,
        advance: Callable[[U], U] | None = None,
        prepare: Callable[[T], T] | None = None,
        thread: WorkerThread | None = None,
    ) -> None:
        self.rate_hz = rate_hz
        self.name, self.overlap = name, overlap
        self.number = next(_NUMBERS)
        """Its own, of all workers of the process."""
        self._prepare = prepare
        self._launch = launch
        self._advance = advance
        self._collect = collect
        self._report = report
        self._thread = thread or WorkerThread()
        self._condition = self._thread.condition
        self._slot: LatestSlot[T] = LatestSlot(self._condition)
        self._errand: Callable[[], None] | None = None
        self._processed = 0
        self._failed = 0
        self._started = False
        self._abandoned = False
        self._ended = False
        self._ended_with: threading.Thread | None = None  # that ends with it
        self._grid_s = float("-inf")  # when the last item was meant to start

    def start(self) -> None:
        """Start the thread, or join the one that it shares. A worker runs once: it cannot be started again after ``stop``."""
        if self._started:
            raise RuntimeError("a worker can only be started once")
        self._started = True
        self._thread.join(self)

    def submit(self, item: T) -> bool:
        """Make ``item`` the next one, never blocking. False after ``stop``: it is then not counted."""
        return self._slot.put(item)

    def run_when_idle(self, errand: Callable[[], None]) -> None:
        """Have the thread do this once, when no item is in work and none waits; of two that wait, the newer. It is no item: what it
        raises goes to ``report``, and counts as nothing."""
        with self._condition:
            self._errand = errand
            self._condition.notify_all()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish the items in work, drop the one that waits, leave the thread, which ends where nobody else shares it, and wait for
        that. May be called again.

        False where that has not happened in ``timeout_s`` [s]: what it has in work is abandoned and counts as failed. The thread
        goes on by itself, and ends where its work ever does. What a thread left that died counts as failed, too.
        """
        self._slot.close()
        if not self._started or self._thread.is_current():
            return True
        with self._condition:
            self._condition.wait_for(lambda: self._ended, timeout_s)
            self._abandoned = not self._ended
            self._failed += self.counts().pending  # none of a thread that ended in order
            self._condition.notify_all()  # wait_until_idle
        if self._ended_with is not None:
            self._ended_with.join(timeout_s)
        return not self._abandoned

    def wait_until_idle(self) -> None:
        """Until everything that was submitted is processed, failed or dropped, or there is no thread any more to do it."""
        with self._condition:
            self._condition.wait_for(lambda: self._ended or self.counts().pending == 0)

    def counts(self) -> FrameCounts:
        """All counters at one moment."""
        with self._condition:
            slot = self._slot
            in_work = slot.taken - self._processed - self._failed
            return FrameCounts(slot.received, self._processed, slot.dropped, self._failed, slot.waiting + in_work)

    # For the thread

    @property
    def share(self) -> float:
        """The part of the thread's time that this worker may use, 1 where it has a thread of its own; for the thread itself."""
        return self._thread.share(self)

    @property
    def is_waiting(self) -> bool:
        """Whether an item waits."""
        return self._slot.waiting > 0

    @property
    def is_ready(self) -> bool:
        """Whether an item waits and may be launched now."""
        return self.is_waiting and self.due_in_s() <= 0

    @property
    def is_closed(self) -> bool:
        """Whether it was stopped."""
        return self._slot.closed

    @property
    def has_errand(self) -> bool:
        """Whether one is to be run."""
        return self._errand is not None

    def one_is_due(self) -> bool:
        """Whether an item waits and may be launched now, beside the one in work."""
        with self._condition:
            return self.is_ready

    def due_in_s(self) -> float:
        """How long until the next item may be launched; 0 or less where it may be now."""
        rate_hz = self.rate_hz  # read once: another thread may set it to 0 at any moment
        return self._grid_s + 1.0 / rate_hz - time.monotonic() if rate_hz > 0 else 0.0

    def take(self) -> T | None:
        """The item that waits, for which the grid of starts goes on; None where it was dropped meanwhile."""
        item = self._slot.take(timeout_s=0.0)
        if item is not None:
            self._advance_grid()
        return item

    def prepared(self, item: T) -> list[T]:
        """What ``prepare`` makes of an item, alone; nothing where it failed, as with all steps: the item is then counted."""
        return [item] if self._prepare is None else self._try(self._prepare, item)

    def launched(self, prepared: T) -> list[U]:
        """What ``launch`` makes of that."""
        return self._try(self._launch, prepared)

    def advanced(self, in_flight: U) -> list[U]:
        """What ``advance`` makes of that."""
        return [in_flight] if self._advance is None else self._try(self._advance, in_flight)

    def end(self, in_flight: U) -> None:
        """Collect it, and count."""
        if self._try(self._collect, in_flight):
            self._count(processed=1)

    def left(self, thread: threading.Thread | None) -> None:
        """The thread serves it no more; thread: where it ends with that."""
        self._ended, self._ended_with = True, thread

    def run_errand(self) -> None:
        """The one that is to be run."""
        with self._condition:
            errand, self._errand = self._errand, None
        if errand is None:
            return
        try:
            errand()
        except Exception as error:
            with suppress(Exception):
                self._report(error)

    def _try(self, step: Callable[[V], W], argument: V) -> list[W]:
        """The step's result, alone; nothing where it failed: the item is then counted."""
        try:
            return [step(argument)]
        except Exception as error:  # a bad frame, or a bad moment, must never end the thread
            self._fail(error)
        except BaseException as error:  # nor a library that means to end the process, whose thread this is not
            self._fail(RuntimeError(f"a step of the work raised {error!r}"))
        return []

    def _fail(self, error: Exception) -> None:
        """Whoever waits until all is done has the report, too; but no report is worth a count."""
        try:
            with suppress(Exception):
                self._report(error)
        finally:
            self._count(failed=1)

    def _count(self, processed: int = 0, failed: int = 0) -> None:
        with self._condition:
            if self._abandoned:
                return  # counted when that was decided
            self._processed += processed
            self._failed += failed
            self._condition.notify_all()  # wait_until_idle

    def _advance_grid(self) -> None:
        """Starts keep to a grid of the period, so that the mean rate is exact; a missed grid restarts now, without catching up."""
        now_s, rate_hz = time.monotonic(), self.rate_hz
        period_s = 1.0 / rate_hz if rate_hz > 0 else 0.0
        due_s = self._grid_s + period_s
        self._grid_s = due_s if 0 <= now_s - due_s < period_s else now_s  # not in the future, where the rate has just changed
