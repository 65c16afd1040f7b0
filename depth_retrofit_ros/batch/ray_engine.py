"""Workers that are actors of Ray: on a cluster that is there, or on one of this machine alone.

What is sent to them and back goes by Ray, which pickles it: whoever can reach a cluster's ports can run code there. One that is
made here listens on the loopback interface, without a dashboard.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from depth_retrofit_ros.batch.engine import ARENAS, MOST_FALSE_STARTS, THREADS, Job, Outcome, Rooms, Servant, Workers
from depth_retrofit_ros.errors import SetupError

LOOPBACK = "127.0.0.1"
ADDRESS = "RAY_ADDRESS"
_END_S = 5.0  # that an actor has to tidy up


class RayEngine:
    """See ``Engine``. workers: of a count of 0, as many as the cluster has room for. address: ``ray://HOST:PORT``; None for the
    cluster that ``RAY_ADDRESS`` names or, without, one of our own."""

    def __init__(self, job: Job, workers: Workers, address: str | None) -> None:
        if find_spec("ray") is None:
            raise SetupError("--on ray needs ray: pip install 'depth_retrofit_ros[ray]', on every machine of the cluster")
        self._where = address or os.environ.get(ADDRESS) or "a cluster of its own on this machine"
        self._job, self._settings, self._address = job, workers, address
        self._rooms = Rooms()
        self._actors: dict[int, Any] = {}
        self._refs: dict[Any, tuple[int, str]] = {}  # what a reply is awaited for: worker and task; an empty task: that it is ready
        self._false_starts = 0
        self._came: list[Outcome] = []

    def __enter__(self) -> RayEngine:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if (Path.home() / ".ray" / "auth_token").exists():  # made by Ray: its client does not look for it unless it is told
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        import ray

        given = self._address or os.environ.get(ADDRESS)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if given:
                ray.init(address=given, **options)
            else:
                cpus, gpus = self._settings.count * self._settings.threads, self._settings.count * self._settings.gpus
                own = {"num_cpus": cpus, "num_gpus": round(gpus + 0.499), "include_dashboard": False, "dashboard_host": LOOPBACK}
                ray.init(address="local", _node_ip_address=LOOPBACK, **own, **options)
        except Exception as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise SetupError(f"Ray does not answer at {given or LOOPBACK} ({line}): start it, or use --on local") from None
        try:
            if not self._settings.count:
                self._settings = replace(self._settings, count=_fitting(self._settings, ray.cluster_resources()))
            for number in range(self._settings.count):
                self._start(number)
            while not any(number in self._rooms for number in self._actors):
                self._listen(1.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *of_error: object) -> None:
        import ray

        leaving = [actor.leave.remote() for number, actor in self._actors.items() if number in self._rooms]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=_END_S)
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        ray.shutdown()

    @property
    def described(self) -> str:
        """See ``Engine``."""
        workers = self._settings
        devices = f", {workers.gpus:g} GPU each" if workers.gpus else ""
        actors = f"{workers.count or 'as many'} Ray actor{'s' * (workers.count != 1)}{'' if workers.count else ' as fit'}"
        return f"{actors}, {workers.threads} CPUs each{devices}, on {self._where}"

    @property
    def busy(self) -> int:
        return self._rooms.busy + len(self._came)

    @property
    def workers(self) -> int:
        return self._settings.count

    def has_room(self, ahead: bool, alone: bool) -> bool:
        return self._rooms.free(ahead, alone) is not None

    def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
        worker = self._rooms.free(ahead, alone)
        assert worker is not None
        self._rooms.put(worker, key, alone)
        self._refs[self._actors[worker].run.remote(key, task)] = (worker, key)

    def wait(self, timeout_s: float) -> list[Outcome]:
        if not self._came:
            self._listen(timeout_s)
        came, self._came = self._came, []
        return came

    def _listen(self, timeout_s: float) -> None:
        import ray

        ready, _ = ray.wait(list(self._refs), num_returns=1, timeout=timeout_s)
        for ref in ready:
            if ref in self._refs:  # not one of a worker that another reply has told lost
                self._receive(ref)

    def _receive(self, ref: Any) -> None:
        import ray

        worker, key = self._refs.pop(ref)
        try:
            said = ray.get(ref)
        except ray.exceptions.RayTaskError as error:  # of making its work: ``run`` raises nothing
            raise SetupError(f"a worker cannot start ({str(error.cause).splitlines()[0]})") from None
        except ray.exceptions.RayError as error:
            self._replace(worker, key, f"its worker ended ({type(error).__name__})")
            return
        if not key:
            if isinstance(said, Exception):
                raise said
            self._false_starts = 0
            self._rooms.open(worker)
            return
        self._rooms.take(worker, key)
        self._came.append(Outcome(*said))
        if said[1] == "lost":
            ray.kill(self._actors[worker])
            self._replace(worker, "", "its worker has lost its device")

    def _replace(self, worker: int, key: str, reason: str) -> None:
        import ray

        was_ready = worker in self._rooms
        ray.kill(self._actors.pop(worker))
        self._refs = {ref: held for ref, held in self._refs.items() if held[0] != worker}
        self._came += [Outcome(lost, "lost", reason) for lost in self._rooms.close(worker)]
        if not was_ready:
            self._false_starts += 1
            if self._false_starts >= MOST_FALSE_STARTS * self._settings.count:
                raise SetupError(f"workers end before they are ready ({reason}): give fewer --workers, or a smaller model")
        self._start(worker)

    def _start(self, number: int) -> None:
        import ray

        variables = dict.fromkeys(THREADS, str(self._settings.threads)) | ARENAS
        make = ray.remote(num_cpus=self._settings.threads, num_gpus=self._settings.gpus, max_concurrency=3, max_restarts=0)(_Actor)
        actor = make.options(runtime_env={"env_vars": variables}).remote()
        self._actors[number] = actor
        self._refs[actor.begin.remote(self._job)] = (number, "")


def _fitting(workers: Workers, resources: Mapping[str, float]) -> int:
    """How many of these a cluster has room for. Raises SetupError for none."""
    count = int(resources.get("CPU", 0.0) // workers.threads)
    if workers.gpus:
        count = min(count, int(resources.get("GPU", 0.0) / workers.gpus))
    if count < 1:
        raise SetupError(f"the cluster has no room for a worker ({dict(resources)}): give fewer --threads or --gpus-per-worker")
    return count


class _Actor:
    """A worker. It is made without its work, so that an error of that is a reply."""

    def begin(self, job: Job) -> Exception | None:
        """Make the work; returns what is wrong with it."""
        from depth_retrofit_ros.errors import DepthRetrofitError

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
        return tuple(self._servant.run(key, task))
