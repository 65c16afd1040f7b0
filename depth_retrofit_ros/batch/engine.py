"""What shares tasks among workers: the protocol of the engines, and what runs in each worker of any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, NamedTuple, Protocol

from depth_retrofit_ros.batch.uris import without_user
from depth_retrofit_ros.device.faults import is_device_fault, is_out_of_memory
from depth_retrofit_ros.errors import DepthRetrofitError, NoRoomError, SetupError, StorageError

Kind = Literal["done", "failed", "again", "lost", "stop"]
"""done; failed: another try would fail as well; again: another one may succeed; lost: the worker ended; stop: nor can any
other task be done, as on a full disk."""


class Outcome(NamedTuple):
    """What became of a task. value: its result where it is done, otherwise why it is not, one line."""

    key: str
    kind: Kind
    value: Any


@dataclass(frozen=True, slots=True)
class Job:
    """How workers are made. factory: ``module:function``, which makes a ``Work`` of the settings, plain data."""

    factory: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Workers:
    """count: how many, 0 for as many as a cluster has room for; threads: CPUs for each; gpus: devices for each, a share of one or
    a whole number, 0 for none."""

    count: int
    threads: int
    gpus: float = 0.0

    def fit(self, devices: int) -> int:
        """How many have a share of so many devices; none has shares of several."""
        return devices * int(1 / self.gpus + 1e-9) if self.gpus < 1 else devices // int(self.gpus)

    def devices(self, number: int) -> range:
        """Those of one of them, by number."""
        if self.gpus < 1:
            first = number // int(1 / self.gpus + 1e-9)
            return range(first, first + 1)
        return range(number * int(self.gpus), (number + 1) * int(self.gpus))


class Work(Protocol):
    """What a worker does with a task; both raise DepthRetrofitError."""

    def prepare(self, task: Any) -> Any:
        """Bring what the task needs, while the one before it is at work."""
        ...

    def run(self, task: Any, prepared: Any) -> Any:
        """The result, plain data."""
        ...

    def close(self) -> None:
        """No more tasks come."""
        ...


class Engine(Protocol):
    """``with engine: ...`` has workers. Raises SetupError where none becomes ready, or what making their work raises.

    workers: how many there are; described: in words, for a summary; remarks: what was odd with workers, one line each.
    """

    remarks: list[str]

    @property
    def described(self) -> str: ...

    def __enter__(self) -> Engine: ...
    def __exit__(self, *of_error: object) -> None: ...
    @property
    def workers(self) -> int: ...
    def has_room(self, ahead: bool, alone: bool) -> bool:
        """For one task more. ahead: also behind one that is at work, to be prepared meanwhile; alone: with nothing beside it."""
        ...

    def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
        """Where there is room for it."""
        ...

    def wait(self, timeout_s: float) -> list[Outcome]:
        """What has become of tasks; empty where nothing has yet."""
        ...


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that say how many threads a library uses, looked at when it is loaded."""
ARENAS = {"MALLOC_ARENA_MAX": "2"}
"""Each part of a bag has threads of its own, and glibc may give each of them another heap, which keeps what was freed in it."""
MOST_FALSE_STARTS = 3  # of each worker, in a row


class FalseStarts:
    """Of an engine's workers: which of them are not started again. remarks: see ``Engine``."""

    def __init__(self, count: int, remarks: list[str]) -> None:
        self._left = dict.fromkeys(range(count), MOST_FALSE_STARTS)
        self._remarks = remarks
        self._any_ready = False

    def ready(self, worker: int) -> None:
        """It has begun."""
        self._any_ready = True
        self._left[worker] = MOST_FALSE_STARTS

    def refused(self, worker: int, error: DepthRetrofitError) -> bool:
        """Whether one that says why it cannot begin is tried again. Raises it before any has begun, or with none left."""
        if not self._any_ready:
            raise error
        return self.ended(worker, error)

    def ended(self, worker: int, error: DepthRetrofitError) -> bool:
        """Whether one that ended before it had begun is tried again. Raises the error where none is left."""
        self._left[worker] -= 1
        if self._left[worker] > 0:
            return True
        del self._left[worker]
        if not self._left:
            raise error
        self._remarks.append(f"one worker less: {error}")
        return False


class Pool:
    """What the engines have in common: where tasks are, what has become of them, and which workers are started again."""

    def __init__(self, job: Job, workers: Workers) -> None:
        self._job, self._settings = job, workers
        self._rooms = Rooms()
        self.remarks: list[str] = []
        self._false_starts = FalseStarts(workers.count, self.remarks)
        self._came: list[Outcome] = []

    def has_room(self, ahead: bool, alone: bool) -> bool:
        """See ``Engine``."""
        return self._rooms.free(ahead, alone) is not None

    def wait(self, timeout_s: float) -> list[Outcome]:
        """See ``Engine``."""
        if not self._came:
            self._listen(timeout_s)
        came, self._came = self._came, []
        return came

    def _listen(self, timeout_s: float) -> None:
        """Put what has become of tasks into ``_came``."""
        raise NotImplementedError

    def _place(self, key: str, ahead: bool, alone: bool) -> int:
        """The worker that this task now goes to."""
        worker = self._rooms.free(ahead, alone)
        assert worker is not None
        self._rooms.put(worker, key, alone)
        return worker

    def _lose(self, worker: int, reason: str, was_ready: bool, error: DepthRetrofitError | None) -> bool:
        """Of one that ended: its tasks are lost. Returns whether it is started again. error: why it could not begin, where it says
        so. Raises SetupError or that error: see ``FalseStarts``."""
        self._came += [Outcome(key, "lost", reason) for key in self._rooms.close(worker)]
        if was_ready:
            return True
        if error is not None:
            return self._false_starts.refused(worker, error)
        told = f"workers end before they are ready ({reason}): give fewer --workers, or a smaller model"
        return self._false_starts.ended(worker, SetupError(told))


class Servant:
    """In a worker: of two tasks it is asked for at a time, one is prepared while the other is at work."""

    def __init__(self, job: Job) -> None:
        self._prepare = ThreadPoolExecutor(2, "prepare")  # which stay: connections to stores are each thread's own
        self._compute = ThreadPoolExecutor(1, "compute")  # one thread computes all: the libraries keep threads and caches of it
        self._work = self._compute.submit(_made, job).result()

    def begin(self, key: str, task: Any) -> Future[Outcome]:
        """What becomes of it, never an ``Exception``."""
        return self._prepare.submit(self._run, key, task)

    def _run(self, key: str, task: Any) -> Outcome:
        try:
            prepared = self._work.prepare(task)
            return Outcome(key, "done", self._compute.submit(self._work.run, task, prepared).result())
        except Exception as error:
            return Outcome(key, _kind(error), _line(error))

    def leave(self) -> None:
        """Nobody wants what is at work."""
        for threads in (self._prepare, self._compute):
            threads.shutdown(wait=False, cancel_futures=True)
        self._work.close()


def _made(job: Job) -> Work:
    module, _, name = job.factory.partition(":")
    make: Callable[[Mapping[str, Any]], Work] = getattr(import_module(module), name)
    return make(job.settings)


def _kind(error: Exception) -> Kind:
    if isinstance(error, NoRoomError):
        return "stop"
    if isinstance(error, StorageError):
        return "again"
    return "lost" if is_device_fault(error) else "failed"


def _line(error: Exception) -> str:
    if isinstance(error, DepthRetrofitError):
        return without_user(str(error))
    if is_out_of_memory(error):
        return "memory ran out: give a smaller --budget, or fewer --workers"
    return without_user(f"unexpected {type(error).__name__}: {error}")


class Rooms:
    """Which tasks are where, for an engine: at most two at a worker, the second one to be prepared ahead."""

    def __init__(self) -> None:
        self._held: dict[int, list[str]] = {}
        self._alone: set[int] = set()

    def __contains__(self, worker: int) -> bool:
        return worker in self._held

    def open(self, worker: int) -> None:
        """One more worker."""
        self._held[worker] = []

    def close(self, worker: int) -> list[str]:
        """One worker less; returns the tasks that it had."""
        self._alone.discard(worker)
        return self._held.pop(worker, [])

    def free(self, ahead: bool, alone: bool) -> int | None:
        """The worker that a task goes to, the one with the fewest; None where it has to wait."""
        most = 1 if ahead and not alone else 0
        fit = [(len(keys), worker) for worker, keys in self._held.items() if len(keys) <= most and worker not in self._alone]
        return min(fit)[1] if fit else None

    def put(self, worker: int, key: str, alone: bool) -> None:
        """The task is there."""
        self._held[worker].append(key)
        if alone:
            self._alone.add(worker)

    def take(self, worker: int, key: str) -> None:
        """It is done with."""
        self._held[worker].remove(key)
        self._alone.discard(worker)
