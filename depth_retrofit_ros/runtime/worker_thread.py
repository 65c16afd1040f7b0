"""One thread for one worker or for several: whoever was served longest ago is next, and nobody waits for who has nothing to do."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.runtime.time_shares import TimeShares

if TYPE_CHECKING:
    from depth_retrofit_ros.runtime.worker import Worker

Begun = deque["tuple[Worker[Any, Any], Any]"]  # items in work, the one that was begun first at the left


class WorkerThread:
    """Runs the steps of its workers; see ``Worker`` for what they are. It is there while a worker is.

    Of the workers whose item waits, and may be begun now, the one whose last item was begun longest ago is next, so that in a row
    of N items that wait each worker has one. An item in work is never interrupted.

    together: begins several prepared items of different workers at once; where it raises, each is begun for itself. most: of how
    many at most; items are taken together only where they wait together, none is waited for.
    condition: guards the workers' slots and counts.
    """

    def __init__(self, together: Callable[[Sequence[Any]], Sequence[Any]] | None = None, most: int = 1) -> None:
        self.condition = threading.Condition()
        self._together = together
        self._most = most if together is not None else 1
        self._workers: list[Worker[Any, Any]] = []  # the one that was served longest ago first
        self._thread: threading.Thread | None = None
        self._shares = TimeShares()

    @property
    def count(self) -> int:
        """Workers that it has now."""
        with self.condition:
            return len(self._workers)

    def join(self, worker: Worker[Any, Any]) -> None:
        """Serve this worker from now on; it leaves when its slot is closed and nothing of it is in work."""
        with self.condition:
            self._workers.append(worker)
            self.condition.notify_all()
            if self._thread is None:
                # A daemon, so that a computation that never returns cannot keep a dying process alive.
                self._thread = threading.Thread(target=self._run, name=worker.name, daemon=True)
                self._thread.start()

    def is_current(self) -> bool:
        """Whether it is the one that asks."""
        return self._thread is threading.current_thread()

    def share(self, worker: Worker[Any, Any]) -> float:
        """The part of its time that a worker may use, see ``TimeShares.share``; for the thread itself."""
        return self._shares.share(worker.number)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            with self.condition:
                if self.is_current():  # it died of something
                    for worker in self._workers:
                        worker.left(None)
                    self._workers.clear()
                    self._thread = None
                    self.condition.notify_all()

    def _work(self) -> None:
        begun: Begun = deque()
        while self._keeps_on(begun):
            if len(begun) > 1:  # those that were begun together
                self._end(begun)
                self._advance(begun)
            elif not begun:
                self._wait(begun)
            elif not self._begin_next(begun):
                self._end(begun)

    def _begin_next(self, begun: Begun) -> bool:
        """With one item in work, begin those that are due, and end the one. False where none is due."""
        taken = self._take(lambda worker: worker.overlap and worker.one_is_due())
        if not taken:
            return False
        self._begin(taken, begun)
        self._end(begun)
        self._advance(begun)
        return True

    def _wait(self, begun: Begun) -> None:
        """With nothing in work, begin the items that are due, run an errand, or wait for either."""
        with self.condition:
            taken = self._take(lambda worker: worker.is_ready)
            errand = None if taken else self._errand()
            if not taken and errand is None:
                waiting = [worker.due_in_s() for worker in self._workers if worker.is_waiting]
                self.condition.wait(max(0.0, min(waiting)) if waiting else None)
        if errand is not None:
            self._timed(errand, errand.run_errand)
        elif taken:
            self._begin(taken, begun)
            self._advance(begun)

    def _take(self, may: Callable[[Worker[Any, Any]], bool]) -> list[tuple[Worker[Any, Any], Any]]:
        """The items that are next, at most ``most``, each of another worker."""
        taken: list[tuple[Worker[Any, Any], Any]] = []
        with self.condition:
            for worker in self._workers:
                if len(taken) < self._most and may(worker) and (item := worker.take()) is not None:
                    taken.append((worker, item))
            served = [worker for worker, _ in taken]
            self._workers = [worker for worker in self._workers if worker not in served] + served
        return taken

    def _errand(self) -> Worker[Any, Any] | None:
        """Whose errand is next: nobody's while an item waits."""
        if any(worker.is_waiting for worker in self._workers):
            return None
        return next((worker for worker in self._workers if worker.has_errand), None)

    def _begin(self, taken: list[tuple[Worker[Any, Any], Any]], begun: Begun) -> None:
        """Empties ``taken``: an idle thread must not keep the last item alive."""
        prepared: Begun = deque()
        while taken:
            worker, item = taken.pop(0)
            prepared += ((worker, made) for made in self._timed(worker, lambda: worker.prepared(item)))  # noqa: B023
            del item
        if len(prepared) > 1 and self._together is not None:
            begin_s, answers = time.monotonic(), list[Any]()
            try:
                answers = list(self._together([made for _, made in prepared]))
            except BaseException:  # whose it is shows when each is begun for itself
                answers.clear()
            end_s = time.monotonic()
            for place, (worker, _) in enumerate(prepared):
                each_s = (end_s - begin_s) / len(prepared)
                self._shares.used(worker.number, begin_s + place * each_s, begin_s + (place + 1) * each_s)
            if answers:
                begun += ((worker, answer) for (worker, _), answer in zip(prepared, answers, strict=True))
                return
        while prepared:
            worker, made = prepared.popleft()
            begun += ((worker, answer) for answer in self._timed(worker, lambda: worker.launched(made)))  # noqa: B023
            del made

    def _advance(self, begun: Begun) -> None:
        """The item that was begun first."""
        if begun:
            worker, item = begun.popleft()
            begun.extendleft((worker, answer) for answer in self._timed(worker, lambda: worker.advanced(item)))

    def _end(self, begun: Begun) -> None:
        worker, item = begun.popleft()
        self._timed(worker, lambda: worker.end(item))

    def _timed(self, worker: Worker[Any, Any], step: Callable[[], Any]) -> Any:
        begin_s = time.monotonic()
        try:
            return step()
        finally:
            self._shares.used(worker.number, begin_s, time.monotonic())

    def _keeps_on(self, begun: Begun) -> bool:
        """Let go of the workers that are to leave. False where none is left: the thread ends with the last one, for good."""
        with self.condition:
            busy = [worker for worker, _ in begun]
            leaving = [worker for worker in self._workers if worker.is_closed and worker not in busy]
            self._workers = [worker for worker in self._workers if worker not in leaving]
            thread = self._thread
            if not self._workers:
                self._thread = None  # whoever joins from now on has another
            for worker in leaving:
                worker.left(thread if not self._workers else None)
            if leaving:
                self.condition.notify_all()
            return bool(self._workers)
