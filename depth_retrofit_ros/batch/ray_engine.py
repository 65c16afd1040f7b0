"""Workers that are actors of Ray: on a cluster that is there, or on one of this machine alone.

What is sent to them and back goes by Ray, which pickles it: whoever can reach a cluster's ports can run code there. One that is
made here listens on the loopback interface, without a dashboard.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from depth_retrofit_ros.batch.engine import ARENAS, THREADS, FalseStarts, Job, Outcome, Pool, Servant, Workers
from depth_retrofit_ros.batch.uris import without_user
from depth_retrofit_ros.errors import DepthRetrofitError, SetupError

LOOPBACK = "127.0.0.1"
ADDRESS = "RAY_ADDRESS"
PLACED_S = 120.0  # in which a cluster finds room for the first actor
_END_S = 5.0  # that an actor has to tidy up


def cluster() -> str | None:
    """The one that ``RAY_ADDRESS`` names."""
    return os.environ.get(ADDRESS) or None


class RayEngine(Pool):
    """See ``Engine``. workers: of a count of 0, as many as the cluster has room for. address: ``ray://HOST:PORT``; None for the
    cluster that ``RAY_ADDRESS`` names or, without, one of our own."""

    def __init__(self, job: Job, workers: Workers, address: str | None) -> None:
        if find_spec("ray") is None:
            raise SetupError("--on ray needs ray: pip install 'depth_retrofit_ros[ray]', on every machine of the cluster")
        super().__init__(job, workers)
        self._given = address or cluster()
        self._where = self._given or "a cluster of its own on this machine"
        self._actors: dict[int, Any] = {}
        self._refs: dict[Any, tuple[int, str]] = {}  # what a reply is awaited for: worker and task; an empty task: that it is ready

    def __enter__(self) -> RayEngine:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if (Path.home() / ".ray" / "auth_token").exists():  # made by Ray: its client does not look for it unless it is told
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        import ray

        given, workers = self._given, self._settings
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if given:
                ray.init(address=given, **options)
            else:
                gpus = workers.devices(workers.count - 1).stop if workers.gpus else 0
                own: dict[str, Any] = {"num_cpus": workers.count * workers.threads, "num_gpus": gpus}
                own |= {"include_dashboard": False, "dashboard_host": LOOPBACK}
                ray.init(address="local", _node_ip_address=LOOPBACK, **own, **options)
        except Exception as error:
            raise SetupError(f"Ray does not answer at {given or LOOPBACK} ({_said(error)}): start it, or use --on local") from None
        try:
            with _connected():
                if not workers.count:
                    self._settings = replace(
                        workers, count=_fitting(workers, [node["Resources"] for node in ray.nodes() if node["Alive"]])
                    )
                    self._false_starts = FalseStarts(self._settings.count, self.remarks)
                for number in range(self._settings.count):
                    self._start(number)
                self._require_room()
            while not any(number in self._rooms for number in self._actors):
                self._listen(1.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *of_error: object) -> None:
        import ray

        with suppress(Exception):  # the cluster may have ended before us
            leaving = [actor.leave.remote() for number, actor in self._actors.items() if number in self._rooms]
            if leaving:
                ray.wait(leaving, num_returns=len(leaving), timeout=_END_S)
            for actor in self._actors.values():
                ray.kill(actor)
        self._actors.clear()
        with suppress(Exception):
            ray.shutdown()

    @property
    def described(self) -> str:
        """See ``Engine``."""
        workers = self._settings
        devices = f", {workers.gpus:g} GPU each" if workers.gpus else ""
        actors = f"{workers.count or 'as many'} Ray actor{'s' * (workers.count != 1)}{'' if workers.count else ' as fit'}"
        return f"{actors}, {workers.threads} CPUs each{devices}, on {self._where}"

    @property
    def workers(self) -> int:
        return len(self._actors)

    def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
        worker = self._place(key, ahead, alone)
        with _connected():
            self._refs[self._actors[worker].run.remote(key, task)] = (worker, key)

    def _listen(self, timeout_s: float) -> None:
        import ray

        with _connected():
            ready, _ = ray.wait(list(self._refs), num_returns=1, timeout=timeout_s)
            for ref in ready:
                if ref in self._refs:  # not one of a worker that another reply has told lost
                    self._receive(ref)

    def _require_room(self) -> None:
        """Raises SetupError where no actor has a place in time, however long it takes to begin there."""
        import ray

        placed = [actor.is_there.remote() for actor in self._actors.values()]
        if not ray.wait(placed, num_returns=1, timeout=PLACED_S)[0]:
            workers = self._settings
            raise SetupError(
                f"{self._where} found no room for a worker of {workers.threads} CPUs and {workers.gpus:g} GPU in {PLACED_S:g} s "
                f"({_told(ray.available_resources())} are free): give fewer --threads or --gpus-per-worker, or wait for others"
            )

    def _receive(self, ref: Any) -> None:
        import ray

        worker, key = self._refs.pop(ref)
        try:
            said = ray.get(ref)
        except ray.exceptions.RayTaskError as error:  # of making its work: ``run`` raises nothing
            self._replace(worker, "", "", SetupError(f"a worker cannot start ({_said(error.cause)})"))
            return
        except ray.exceptions.RayError as error:
            self._replace(worker, key, f"its worker ended ({type(error).__name__})")
            return
        if not key:
            if isinstance(said, DepthRetrofitError):
                self._replace(worker, "", "", said)
                return
            self._false_starts.ready(worker)
            self._rooms.open(worker)
            return
        self._rooms.take(worker, key)
        self._came.append(Outcome(*said))
        if said[1] == "lost":
            self._replace(worker, "", "its worker has lost its device")

    def _replace(self, worker: int, key: str, reason: str, error: DepthRetrofitError | None = None) -> None:
        """error: why it could not begin, where it says so."""
        import ray

        was_ready = worker in self._rooms
        ray.kill(self._actors.pop(worker))
        self._refs = {ref: held for ref, held in self._refs.items() if held[0] != worker}
        if self._lose(worker, reason, was_ready, error):
            self._start(worker)

    def _start(self, number: int) -> None:
        import ray

        variables = dict.fromkeys(THREADS, str(self._settings.threads)) | ARENAS
        make = ray.remote(num_cpus=self._settings.threads, num_gpus=self._settings.gpus, max_concurrency=3, max_restarts=0)(_Actor)
        actor = make.options(runtime_env={"env_vars": variables}).remote()
        self._actors[number] = actor
        self._refs[actor.begin.remote(self._job)] = (number, "")


@contextmanager
def _connected() -> Iterator[None]:
    """Raises SetupError where the cluster ends, or cannot be reached any more."""
    try:
        yield
    except ConnectionError as error:
        raise SetupError(f"the Ray cluster does not answer any more ({_said(error)}): start it again") from None


def _said(error: BaseException) -> str:
    """Its first line."""
    return without_user((str(error).splitlines() or [""])[0]) or type(error).__name__


def _told(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0.0):g} {name}" for name in ("CPU", "GPU"))


def _fitting(workers: Workers, machines: list[Mapping[str, float]]) -> int:
    """How many of these a cluster's machines have room for. Raises SetupError for none."""
    count = 0
    for resources in machines:
        fit = int(resources.get("CPU", 0.0) // workers.threads)
        count += min(fit, workers.fit(int(resources.get("GPU", 0.0)))) if workers.gpus else fit
    if count < 1:
        told = "; ".join(map(_told, machines)) or "no machine"
        raise SetupError(f"the cluster has no room for a worker ({told}): give fewer --threads or --gpus-per-worker")
    return count


class _Actor:
    """A worker. It is made without its work, so that an error of that is a reply."""

    def is_there(self) -> bool:
        """That it has a place, whatever it is at."""
        return True

    def begin(self, job: Job) -> Exception | None:
        """Make the work; returns what is wrong with it."""
        try:
            self._servant = Servant(job)
        except DepthRetrofitError as error:
            return error
        return None

    def leave(self) -> None:
        """Nobody wants what is at work."""
        self._servant.leave()

    def run(self, key: str, task: Any) -> tuple[str, str, Any]:
        """See ``Servant``."""
        return tuple(self._servant.begin(key, task).result())
