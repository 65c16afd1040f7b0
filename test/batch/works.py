"""Work for tests of the engines, loaded by their workers by its name; and an engine that has none."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depth_retrofit_ros.batch.engine import Job, Outcome, Servant
from depth_retrofit_ros.errors import ImageError, NoRoomError, StorageError

FACTORY = f"{__name__}:make"


class Tried:
    """A task is a pair of what is to be done and an argument. folder: where tries are noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, task: tuple[str, str]) -> str:
        if task[0] == "thread":
            return str(threading.get_ident())
        return f"prepared {task[1]}"

    def run(self, task: tuple[str, str], prepared: str) -> Any:
        what, name = task
        tries = self._folder / name
        with tries.open("a") as file:
            file.write("x")
        if what == "die" or (what == "die once" and tries.stat().st_size == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "refuse":
            raise ImageError(f"{name} is no image")
        if what == "break off" and tries.stat().st_size <= 2:
            raise StorageError("sftp://somebody:secret@host/x broke off")
        if what == "full":
            raise NoRoomError("cannot write x (No space left on device)")
        if what == "wait":
            time.sleep(60.0)
        if what == "thread":
            return threading.get_ident(), prepared
        if what == "environment":
            return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")} | {"pid": os.getpid()}
        return f"{prepared} and done", os.getpid()

    def close(self) -> None: ...


def claimed(file: Path) -> bool:
    """Whether nobody else was the first."""
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def make(settings: Mapping[str, Any]) -> Tried:
    if settings.get("broken"):
        raise ImageError("there is no such model")
    if settings.get("dies"):
        os._exit(3)
    if (first := settings.get("first")) is not None and not claimed(first):
        os._exit(3)
    return Tried(settings["folder"])


class InlineEngine:
    """See ``Engine``: what is submitted is done at once, by this process."""

    described = "inline"
    workers = 1

    def __init__(self, job: Job) -> None:
        self._job = job
        self._came: list[Outcome] = []
        self.remarks: list[str] = []
        self.submitted: list[str] = []

    def __enter__(self) -> InlineEngine:
        self._servant = Servant(self._job)
        return self

    def __exit__(self, *of_error: object) -> None:
        self._servant.leave()

    def has_room(self, ahead: bool, alone: bool) -> bool:
        return not self._came

    def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
        self.submitted.append(key)
        self._came.append(self._servant.begin(key, task).result())

    def wait(self, timeout_s: float) -> list[Outcome]:
        came, self._came = self._came, []
        return came
