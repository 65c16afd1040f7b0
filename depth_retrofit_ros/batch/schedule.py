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


@dataclass(frozen=True, slots=True)
class Asked:
    """A task, and the key by which it is known."""

    key: str
    task: Any


def run_tasks(
    engine: Engine,
    asked: Iterable[Asked],
    retries: int,
    done: Callable[[str, Any], Iterable[Asked]],
    failed: Callable[[str, str], None],
    waiting: Callable[[], None],
) -> None:
    """asked: is taken from only as workers have room. done: takes key and result, and gives tasks that follow from it, which go
    first. failed: takes key and reason, one line. waiting: called every now and then. retries: of a task whose store broke off, or
    whose worker ended while it was alone there.

    Raises OutputError where nothing more can be written, and what the others raise.
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
        if not queue or not engine.has_room(ahead, alone):
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
        for key, kind, value in engine.wait(POLL_S):
            task = at_work.pop(key)
            tries[key] += 1
            if kind == "lost" and key not in suspected and retries:
                uncounted.add(key)  # its neighbor may be what ended the worker
            if kind == "done":
                del tries[key]
                following.extend(done(key, value))
            elif kind == "stop":
                raise OutputError(value)
            elif kind == "failed" or tries[key] - (key in uncounted) > retries:
                failed(key, value if kind == "failed" or tries[key] == 1 else f"{value} (tried {tries[key]} times)")
            elif kind == "lost":
                suspected.add(key)
                suspects.append(task)
            else:
                again.append(task)
        waiting()


def run_in_order(engine: Engine, tasks: Iterable[Any], take: Callable[[Any], None]) -> None:
    """take: is given the result of each task, in the order of the tasks. Raises DepthRetrofitError for the first one that fails."""
    held: dict[int, Any] = {}
    due = 0

    def done(key: str, value: Any) -> tuple[()]:
        nonlocal due
        held[int(key)] = value
        while due in held:
            take(held.pop(due))
            due += 1
        return ()

    def failed(key: str, reason: str) -> None:
        raise DepthRetrofitError(reason)

    asked = (Asked(str(number), task) for number, task in enumerate(tasks))
    run_tasks(engine, asked, RETRIES, done, failed, lambda: None)
