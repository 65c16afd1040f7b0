"""The engine that ``--on`` names, and how many workers it has where the user does not say."""

from __future__ import annotations

import os

from depth_retrofit_ros.batch.engine import Engine, Job, Workers
from depth_retrofit_ros.batch.local_engine import LocalEngine
from depth_retrofit_ros.batch.ray_engine import RayEngine, cluster
from depth_retrofit_ros.errors import UsageError

LOCAL, RAY, RAY_CLIENT = "local", "ray", "ray://"
MOST_THREADS = 4
"""Of a worker: more hardly shorten a frame. How many it has decides the last bits of what a CPU computes, and
does not follow from the number of workers, on which nothing shall depend."""


def cpus() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_elsewhere(where: str) -> bool:
    """Whether the workers of ``--on`` may be on other machines."""
    return where.startswith(RAY_CLIENT) or (where == RAY and cluster() is not None)


def choose_workers(count: int | None, threads: int, gpus: float, device: str, elsewhere: bool = False) -> Workers:
    """count, gpus: as the user says, None and 0 where not; device: on which they compute, ``cpu`` or ``cuda``. elsewhere: a cluster
    has room for as many as it has. Raises UsageError."""
    if device == "cpu":
        if gpus:
            raise UsageError("--gpus-per-worker is of workers on CUDA, and these compute on cpu: leave it out")
        return Workers(count or (0 if elsewhere else max(1, cpus() // threads)), threads)
    gpus = gpus or 1.0
    if gpus > 1 and gpus != int(gpus):
        raise UsageError(f"--gpus-per-worker {gpus:g}: give a share of one, such as 0.5, or a whole number")
    if elsewhere:
        return Workers(count or 0, threads, gpus)
    import torch

    devices = torch.cuda.device_count()
    most = Workers(0, threads, gpus).fit(devices)
    if (count or 1) > most:
        raise UsageError(
            f"{count or 1} workers with {gpus:g} GPU each do not fit on the {devices} of this machine: "
            "give fewer --workers, or a smaller --gpus-per-worker"
        )
    return Workers(count or most, threads, gpus)


def make_engine(where: str, job: Job, workers: Workers) -> Engine:
    """where: ``local``, ``ray``, or ``ray://HOST:PORT``. Raises UsageError, SetupError."""
    if where == LOCAL:
        return LocalEngine(job, workers)
    if where == RAY:
        return RayEngine(job, workers, None)
    if where.startswith(RAY_CLIENT) and len(where) > len(RAY_CLIENT):
        return RayEngine(job, workers, where)
    raise UsageError(f"--on {where} is no engine: give {LOCAL}, {RAY}, or {RAY_CLIENT}HOST:PORT")
