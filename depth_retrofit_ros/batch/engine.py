"""What shares tasks among workers: the protocol of the engines, and what runs in each worker of any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, NamedTuple, Protocol

from depth_retrofit_ros.batch.uris import without_user
from depth_retrofit_ros.device.faults import is_device_fault, is_out_of_memory
from depth_retrofit_ros.errors import DepthRetrofitError, NoRoomError, StorageError

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
    """count: how many, 0 for as many as a cluster has room for; threads: CPUs for each; gpus: devices for each."""

    count: int
    threads: int
    gpus: float = 0.0


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

    busy: tasks that are at work; workers: how many there are; described: in words, for a summary.
    """

    @property
    def described(self) -> str: ...

    def __enter__(self) -> Engine: ...
    def __exit__(self, *of_error: object) -> None: ...
    @property
    def busy(self) -> int: ...
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


class Servant:
    """In a worker: ``run`` may be called by two threads, of which one prepares while the other's task is at work."""

    def __init__(self, job: Job) -> None:
        self._compute = ThreadPoolExecutor(1, "compute")  # one thread computes all: the libraries keep threads and caches of it
        self._work = self._compute.submit(_made, job).result()

    def run(self, key: str, task: Any) -> Outcome:
        """Never raises an ``Exception``."""
        try:
            prepared = self._work.prepare(task)
            return Outcome(key, "done", self._compute.submit(self._work.run, task, prepared).result())
        except Exception as error:
            return Outcome(key, _kind(error), _line(error))

    def leave(self) -> None:
        """Nobody wants what is at work."""
        self._work.close()

    def close(self) -> None:
        """No more tasks come."""
        self._compute.shutdown()
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

    @property
    def busy(self) -> int:
        """Tasks that are somewhere."""
        return sum(map(len, self._held.values()))

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
