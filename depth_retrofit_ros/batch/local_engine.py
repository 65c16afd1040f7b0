"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from depth_retrofit_ros.batch.engine import ARENAS, THREADS, Job, Outcome, Pool, Servant, Workers
from depth_retrofit_ros.batch.uris import without_user
from depth_retrofit_ros.errors import DepthRetrofitError, SetupError

_END_S = 5.0  # that a worker has to end by itself
_READY = "ready"


class LocalEngine(Pool):
    """See ``Engine``. A worker that ends is replaced; what it had is lost, and one line of what it said last is the reason."""

    def __init__(self, job: Job, workers: Workers) -> None:
        super().__init__(job, workers)
        devices = f", {workers.gpus:g} GPU each" if workers.gpus else ""
        self.described = f"{workers.count} local worker{'s' if workers.count > 1 else ''}, {workers.threads} threads each{devices}"
        self._context = multiprocessing.get_context("spawn")
        self._slots: dict[int, _Slot] = {}
        self._logs = tempfile.TemporaryDirectory(prefix="depth_retrofit_workers_")

    def __enter__(self) -> LocalEngine:
        try:
            for number in range(self._settings.count):
                self._start(number)
            while not any(slot.ready for slot in self._slots.values()):  # what none can begin with is told before any task is
                self._listen(1.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *of_error: object) -> None:
        for slot in self._slots.values():
            slot.connection.close()  # which ends it
        for slot in self._slots.values():
            slot.process.join(_END_S if of_error[:1] in ((), (None,)) else 0.2)
            if slot.process.is_alive():
                slot.process.kill()
                slot.process.join()
        self._slots.clear()
        self._logs.cleanup()

    @property
    def workers(self) -> int:
        return len(self._slots)

    def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
        worker = self._place(key, ahead, alone)
        with suppress(OSError):  # one that has just ended: its tasks are told lost
            self._slots[worker].connection.send((key, task))

    def _listen(self, timeout_s: float) -> None:
        numbers = {slot.connection: number for number, slot in self._slots.items()}
        for connection in wait(list(numbers), timeout_s):
            assert isinstance(connection, Connection)
            self._receive(numbers[connection])

    def _receive(self, number: int) -> None:
        slot = self._slots[number]
        try:
            said = slot.connection.recv()
        except (EOFError, OSError):
            self._replace(number)
            return
        if isinstance(said, Outcome):
            self._rooms.take(number, said.key)
            self._came.append(said)
            if said.kind == "lost":
                self._replace(number)
        elif said == _READY:
            slot.ready = True
            self._false_starts.ready(number)
            self._rooms.open(number)
        else:
            self._replace(number, said)

    def _replace(self, number: int, error: DepthRetrofitError | None = None) -> None:
        """error: why it could not begin, where it says so."""
        slot = self._slots.pop(number)
        slot.connection.close()
        slot.process.join(_END_S)
        if slot.process.is_alive():
            slot.process.kill()
            slot.process.join()
        reason = _ended(slot.process.exitcode, _last_line(slot.log))
        if self._lose(number, reason, slot.ready, error):
            self._start(number)

    def _start(self, number: int) -> None:
        here, there = self._context.Pipe()
        log = Path(self._logs.name) / f"{number}.log"
        own = log.with_suffix("")  # for whatever it makes for a while; what a worker that ended has left goes with it
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        process = self._context.Process(target=_serve, args=(there, self._job, str(log)), name=f"worker {number}", daemon=True)
        with _environment(self._settings, number, own):
            process.start()
        there.close()
        self._slots[number] = _Slot(process, here, log)


class _Slot:
    def __init__(self, process: SpawnProcess, connection: Connection, log: Path) -> None:
        self.process, self.connection, self.log, self.ready = process, connection, log, False


@contextmanager
def _environment(workers: Workers, number: int, folder: Path) -> Iterator[None]:
    """What a worker inherits: libraries look at it when they are loaded."""
    values = {**dict.fromkeys(THREADS, str(workers.threads)), **ARENAS, "TMPDIR": str(folder)}
    if workers.gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = [name for name in visible.split(",") if name]
        values["CUDA_VISIBLE_DEVICES"] = ",".join(names[at] if names else str(at) for at in workers.devices(number))
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ended(code: int | None, said: str) -> str:
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return without_user(f"its worker {how}{f': {said}' if said else ''}")


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _serve(connection: Connection, job: Job, log: str) -> None:
    """The process of a worker: it ends when the other end of the connection does, whatever it is at."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who leads
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sending = threading.Lock()
    try:
        servant = Servant(job)
    except Exception as error:
        connection.send(_sendable(error))
        connection.close()
        return

    def send(outcome: Future[Outcome]) -> None:
        with sending, suppress(OSError):
            connection.send(outcome.result())

    connection.send(_READY)
    while True:
        try:
            key, task = connection.recv()
        except (EOFError, OSError):
            servant.leave()
            os._exit(0)  # what is at work is whole or not there
        servant.begin(key, task).add_done_callback(send)


def _sendable(error: Exception) -> DepthRetrofitError:
    return error if isinstance(error, DepthRetrofitError) else SetupError(f"a worker cannot start: {type(error).__name__}: {error}")
