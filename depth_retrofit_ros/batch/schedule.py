"""Tasks through an engine until each is done or has failed: those of lost workers again, with a limit."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from depth_retrofit_ros.batch.defaults import RETRIES
from depth_retrofit_ros.batch.engine import Engine
from depth_retrofit_ros.errors import DepthRetrofitError, OutputError

POLL_S = 0.5
AHEAD = 4
"""Of ``run_in_order``: results for each worker that may wait for an earlier one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A task, and the key by which it is known."""

    key: str
    task: Any


def run_tasks(
    engine: Engine,
    asked: Iterable[Asked],
    retries: int,
    done: Callable[[Asked, Any], Iterable[Asked]],
    failed: Callable[[Asked, str], Iterable[Asked]],
    waiting: Callable[[], None],
    begin: Callable[[Asked], bool] = lambda asked: True,
) -> None:
    """asked: is taken from only as workers have room. done: takes task and result, and gives tasks that follow from it, which go
    first. failed: takes task and reason, one line, and gives such, too. waiting: called every now and then. begin: called before
    each try of a task; where it returns False the task waits. retries: of a task whose store broke off, or whose worker ended while
    it was alone there.

    Raises OutputError where nothing more can be written, after what has come by then is taken, and what the others raise.
    """
    rest = iter(asked)
    following: deque[Asked] = deque()
    again: deque[Asked] = deque()
    suspects: deque[Asked] = deque()  # of workers that ended: each alone, so that it costs no other task a try
    ready: deque[Asked] = deque()  # one look ahead into ``rest``
    at_work: dict[str, Asked] = {}
    tries: Counter[str] = Counter()
    suspected: set[str] = set()
    uncounted: set[str] = set()

    def looked_ahead(count: int) -> bool:
        while len(ready) < count:
            task = next(rest, None)
            if task is None:
                return False
            ready.append(task)
        return True

    def submit(queue: deque[Asked], ahead: bool, alone: bool) -> bool:
        if not queue or not engine.has_room(ahead, alone) or not begin(queue[0]):
            return False
        task = queue.popleft()
        at_work[task.key] = task
        engine.submit(task.key, task.task, ahead, alone)
        return True

    while True:
        looked_ahead(engine.workers)
        # Behind a task at work another one is prepared, unless it might be taken by a worker that has nothing to do soon.
        ahead = len(following) + len(ready) >= engine.workers
        while (
            submit(following, ahead, False)
            or submit(ready, ahead, False)
            or submit(again, False, False)
            or submit(suspects, False, True)
        ):
            looked_ahead(engine.workers)
            ahead = len(following) + len(ready) >= engine.workers
        if not (at_work or following or again or suspects or looked_ahead(1)):
            return
        stopped: str | None = None
        for key, kind, value in engine.wait(POLL_S):
            task = at_work.pop(key)
            tries[key] += 1
            if kind == "lost" and key not in suspected and retries:
                uncounted.add(key)  # its neighbor may be what ended the worker
            if kind == "done":
                del tries[key]
                following.extend(done(task, value))
            elif kind == "stop":
                stopped = value
            elif kind == "failed" or tries[key] - (key in uncounted) > retries:
                told = value if kind == "failed" or tries[key] == 1 else f"{value} (tried {tries[key]} times)"
                following.extend(failed(task, told))
            elif kind == "lost":
                suspected.add(key)
                suspects.append(task)
            else:
                again.append(task)
        if stopped is not None:
            raise OutputError(stopped)
        waiting()


def run_in_order(engine: Engine, tasks: Iterable[Any], take: Callable[[Any], None]) -> None:
    """take: is given the result of each task, in the order of the tasks; at most ``AHEAD`` for each worker wait for an earlier one.
    Raises DepthRetrofitError for the first one that fails."""
    held: dict[int, Any] = {}
    due = 0

    def begin(asked: Asked) -> bool:
        return int(asked.key) < due + AHEAD * engine.workers

    def done(asked: Asked, value: Any) -> tuple[()]:
        nonlocal due
        held[int(asked.key)] = value
        while due in held:
            take(held.pop(due))
            due += 1
        return ()

    def failed(asked: Asked, reason: str) -> tuple[()]:
        raise DepthRetrofitError(reason)

    asked = (Asked(str(number), task) for number, task in enumerate(tasks))
    run_tasks(engine, asked, RETRIES, done, failed, lambda: None, begin)
