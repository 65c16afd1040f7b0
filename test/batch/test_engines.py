"""Tasks by workers of every engine: each once, those of workers that end again with a limit, and nothing is lost."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from depth_retrofit_ros.batch import ray_engine
from depth_retrofit_ros.batch.engine import Engine, FalseStarts, Job, Outcome, Rooms, Servant, Workers
from depth_retrofit_ros.batch.engines import choose_workers, is_elsewhere, make_engine
from depth_retrofit_ros.batch.local_engine import LocalEngine, _ended
from depth_retrofit_ros.batch.ray_engine import _connected, _fitting
from depth_retrofit_ros.batch.schedule import AHEAD, Asked, run_in_order, run_tasks
from depth_retrofit_ros.batch.uris import without_user
from depth_retrofit_ros.cli.options import worker_device
from depth_retrofit_ros.errors import DepthRetrofitError, ImageError, ModelError, OutputError, SetupError, UsageError
from test.batch.works import FACTORY
from test.paths import ROOT


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Engine]:
    if request.param == "ray" and find_spec("ray") is None:
        pytest.skip("ray is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def made(count: int = 2, **settings: Any) -> Engine:
        return make_engine(request.param, Job(FACTORY, {"folder": tmp_path, **settings}), Workers(count, 1))

    return made


class Told:
    """What came of tasks: results and reasons by key."""

    def __init__(self, follow: Callable[[str], Iterable[Asked]] = lambda key: ()) -> None:
        self.done: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self._follow = follow

    def on_done(self, asked: Asked, value: Any) -> Iterable[Asked]:
        assert asked.key not in self.done
        self.done[asked.key] = value
        return self._follow(asked.key)

    def on_failed(self, asked: Asked, reason: str) -> Iterable[Asked]:
        assert asked.key not in self.failed
        self.failed[asked.key] = reason
        return ()

    def run(self, engine: Engine, tasks: Iterable[tuple[str, str]], retries: int = 2) -> Told:
        run_tasks(engine, (Asked(task[1], task) for task in tasks), retries, self.on_done, self.on_failed, lambda: None)
        return self


def tries(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir()}


@pytest.mark.slow
def test_each_task_once_and_those_that_fail_cost_themselves_alone(engine: Callable[..., Engine], tmp_path: Path) -> None:
    good = [("do", f"t{number}") for number in range(20)]
    tasks = [*good[:5], ("die once", "once"), ("refuse", "bad"), ("break off", "far"), *good[5:], ("die", "poison")]
    with engine() as opened:
        told = Told().run(opened, tasks)
    assert told.done.keys() == {"once", "far", *(name for _, name in good)}
    assert told.done["t3"][0] == "prepared t3 and done"
    assert told.failed["bad"] == "bad is no image"
    assert told.failed["poison"].startswith("its worker ") and told.failed["poison"].endswith("(tried 4 times)")
    counts = tries(tmp_path)
    assert (counts["bad"], counts["poison"], counts["once"]) == (1, 4, 2) and counts["far"] in (3, 4)
    assert sum(counts[name] for _, name in good) <= len(good) + 6, "a neighbor of one whose worker ended may be tried once more"


@pytest.mark.slow
def test_what_no_worker_can_begin_with_is_told_before_any_task(engine: Callable[..., Engine]) -> None:
    with pytest.raises(ImageError, match="there is no such model"), engine(broken=True):
        pass
    with pytest.raises(SetupError, match="workers end before they are ready"), engine(1, dies=True):
        pass


@pytest.mark.slow
def test_results_come_in_order_and_a_full_disk_ends_it(engine: Callable[..., Engine]) -> None:
    came: list[str] = []
    with engine() as opened:
        run_in_order(opened, [("do", f"t{number}") for number in range(9)], lambda result: came.append(result[0]))
        assert came == [f"prepared t{number} and done" for number in range(9)]
        with pytest.raises(OutputError, match="No space left"):
            Told().run(opened, [("full", "disk")])
        with pytest.raises(DepthRetrofitError, match="bad is no image"):
            run_in_order(opened, [("refuse", "bad")], came.append)


@pytest.mark.slow
def test_workers_of_this_machine_end_with_it_whatever_they_are_at(tmp_path: Path) -> None:
    engine = LocalEngine(Job(FACTORY, {"folder": tmp_path}), Workers(1, 3, 0.5))
    with engine:
        engine.submit("env", ("environment", "env"), False, False)
        outcomes: list[Any] = []
        while not outcomes:
            outcomes = engine.wait(1.0)
        pid = outcomes[0].value.pop("pid")
        assert outcomes[0].value == {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "0"}
        engine.submit("long", ("wait", "long"), False, False)
        while not (tmp_path / "long").exists():
            engine.wait(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


class Idle:
    """What an engine needs beside rooms and outcomes."""

    described, workers = "idle", 1

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self.held: list[str] = []

    def __enter__(self) -> Idle:
        return self

    def __exit__(self, *of_error: object) -> None: ...

    def has_room(self, ahead: bool, alone: bool) -> bool:
        return True

    def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
        self.held.append(key)

    def wait(self, timeout_s: float) -> list[Outcome]:
        return []


def test_what_follows_from_a_task_goes_first() -> None:
    order: list[str] = []

    class Noting(Idle):
        def has_room(self, ahead: bool, alone: bool) -> bool:
            return not order or len(order) == self.told

        def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
            order.append(key)

        told = 0

        def wait(self, timeout_s: float) -> list[Any]:
            self.told = len(order)
            return [Outcome(order[-1], "done", None)]

    told = Told(lambda key: [Asked("a2", None)] if key == "a1" else ())
    told.run(Noting(), [("do", "a1"), ("do", "b")])
    assert order == ["a1", "a2", "b"]


def test_a_suspect_has_a_worker_for_itself() -> None:
    rooms = Rooms()
    rooms.open(0)
    rooms.put(0, "a", alone=False)
    assert rooms.free(ahead=True, alone=False) == 0
    assert rooms.free(ahead=False, alone=False) is None
    assert rooms.free(ahead=True, alone=True) is None
    rooms.take(0, "a")
    rooms.put(0, "suspect", alone=True)
    assert rooms.free(ahead=True, alone=False) is None
    assert rooms.close(0) == ["suspect"] and rooms.free(ahead=True, alone=False) is None


def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.batch.engines.cpus", lambda: 16)
    assert choose_workers(None, 4, 0.0, "cpu") == Workers(4, 4)
    assert choose_workers(3, 2, 0.0, "cpu") == Workers(3, 2)
    assert choose_workers(None, 4, 0.0, "cpu", elsewhere=True) == Workers(0, 4)
    with pytest.raises(UsageError, match="a share of one"):
        choose_workers(1, 4, 1.5, "cuda")
    with pytest.raises(UsageError, match="workers on CUDA"):
        choose_workers(1, 4, 1.0, "cpu")
    with pytest.raises(UsageError, match="--on spark is no engine"):
        make_engine("spark", Job(FACTORY, {}), Workers(1, 1))


def test_workers_have_the_gpus_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_workers(None, 4, 0.0, "cuda") == Workers(2, 4, 1.0)
    assert choose_workers(None, 4, 0.3, "cuda") == Workers(6, 4, 0.3)
    assert choose_workers(None, 4, 2.0, "cuda") == Workers(1, 4, 2.0)
    assert choose_workers(4, 4, 0.5, "cuda") == Workers(4, 4, 0.5)
    assert choose_workers(9, 4, 1.0, "cuda", elsewhere=True) == Workers(9, 4, 1.0)
    for count, gpus in ((3, 0.0), (7, 0.3), (2, 2.0), (1, 3.0), (None, 3.0)):
        with pytest.raises(UsageError, match="do not fit on the 2 of this machine: give fewer --workers"):
            choose_workers(count, 4, gpus, "cuda")
    assert [list(Workers(6, 1, 0.3).devices(number)) for number in range(6)] == [[0], [0], [0], [1], [1], [1]]
    assert [list(Workers(2, 1, 2.0).devices(number)) for number in range(2)] == [[0, 1], [2, 3]]


def test_workers_compute_where_it_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(device: str, on: str = "local", gpus: float = 0.0) -> str:
        return worker_device(argparse.Namespace(device=device, on=on, gpus_per_worker=gpus))

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert (chosen("auto"), chosen("cpu")) == ("cpu", "cpu")
    with pytest.raises(UsageError, match="--device cuda:1 is of one process"):
        chosen("cuda:1")
    for on in ("local", "ray"):
        with pytest.raises(ModelError, match="sees no CUDA device"):
            chosen("cuda", on)
    far = "ray://head:1"
    assert (chosen("cuda", far), chosen("auto", far, 0.5), chosen("auto", far)) == ("cuda", "cuda", "cpu")
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert not is_elsewhere("ray")
    monkeypatch.setenv("RAY_ADDRESS", "head:1")
    assert is_elsewhere("ray")


def test_a_cluster_has_room_machine_by_machine() -> None:
    assert _fitting(Workers(0, 2), [{"CPU": 3.0}, {"CPU": 3.0}]) == 2
    assert _fitting(Workers(0, 1, 0.4), [{"CPU": 16.0, "GPU": 2.0}]) == 4
    with pytest.raises(SetupError, match=r"no room for a worker \(3 CPU, 0 GPU\)"):
        _fitting(Workers(0, 4), [{"CPU": 3.0}])


def test_a_cluster_that_ends_is_one_line() -> None:
    with pytest.raises(SetupError, match=r"^the Ray cluster does not answer any more \(gone\): start it again$"), _connected():
        raise ConnectionError("gone\nand more")
    with pytest.raises(SetupError, match=r"any more \(ConnectionResetError\)"), _connected():
        raise ConnectionResetError


@pytest.mark.slow
def test_a_cluster_without_room_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_engine, "PLACED_S", 0.0)
    told = r"found no room for a worker of 1 CPUs and 0 GPU in 0 s \(.* CPU, 0 GPU are free\): give fewer --threads"
    with pytest.raises(SetupError, match=told), make_engine("ray", Job(FACTORY, {"folder": tmp_path}), Workers(1, 1)):
        pass


def test_few_results_wait_for_an_earlier_one() -> None:
    class Backwards(Idle):
        """The first task comes to an end last."""

        workers = 2
        most = 0

        def wait(self, timeout_s: float) -> list[Outcome]:
            self.most = max(self.most, len(self.held))
            return [Outcome(self.held.pop(), "done", None)]

    engine = Backwards()
    came: list[None] = []
    run_in_order(engine, range(100), came.append)
    assert len(came) == 100 and engine.most == AHEAD * 2


def test_what_came_with_a_full_disk_is_taken() -> None:
    class Full(Idle):
        workers = 3

        def wait(self, timeout_s: float) -> list[Outcome]:
            return [Outcome("disk", "stop", "No space left"), Outcome("b", "done", 1), Outcome("c", "failed", "bad")]

    told = Told()
    with pytest.raises(OutputError, match="No space left"):
        told.run(Full(), [("do", "disk"), ("do", "b"), ("do", "c")])
    assert (told.done, told.failed) == ({"b": 1}, {"c": "bad"})


def test_a_worker_prepares_on_two_threads_and_computes_on_one(tmp_path: Path) -> None:
    """Each connection to a store is its thread's."""
    servant = Servant(Job(FACTORY, {"folder": tmp_path}))
    came = [servant.begin(str(number), ("thread", str(number))) for number in range(20)]
    values = [future.result().value for future in came]
    servant.leave()
    assert len({computed for computed, _ in values}) == 1 and len({prepared for _, prepared in values}) <= 2


def test_no_word_of_a_worker_gives_a_terminal_orders_or_tells_a_password() -> None:
    told = _ended(-9, "\x1b[2Jlost sftp://me:secret@host/x\n")
    assert told == r"its worker was killed by signal 9: \x1b[2Jlost sftp://host/x"
    assert without_user("a\nb\udcff\x07") == r"a b\udcff\x07"


@pytest.mark.slow
def test_a_worker_less_is_told_and_the_others_go_on(engine: Callable[..., Engine], tmp_path: Path) -> None:
    with engine(first=tmp_path.parent / f"{tmp_path.name}_first") as opened:
        told = Told().run(opened, [("do", f"t{number}") for number in range(3)])
        while not opened.remarks:
            opened.wait(0.5)
        (remark,) = opened.remarks
        assert remark.startswith("one worker less: workers end before they are ready (its worker ") and opened.workers == 1
    assert len(told.done) == 3


def test_a_worker_that_says_why_it_cannot_begin_ends_the_run_before_any_has_begun_alone() -> None:
    error, remarks = ImageError("no room on the GPU"), list[str]()
    with pytest.raises(ImageError):
        FalseStarts(2, remarks).refused(0, error)
    starts = FalseStarts(2, remarks)
    starts.ready(0)
    starts.ready(1)
    assert [starts.refused(0, error) for _ in range(3)] == [True, True, False]
    assert remarks == ["one worker less: no room on the GPU"]
    assert [starts.refused(1, error) for _ in range(2)] == [True, True]
    with pytest.raises(ImageError):
        starts.refused(1, error)


def test_without_ray_one_line_says_what_to_install() -> None:
    if find_spec("ray") is not None:
        pytest.skip("ray is installed")
    with pytest.raises(SetupError, match=r"--on ray needs ray: pip install 'depth_retrofit_ros\[ray\]'"):
        make_engine("ray", Job(FACTORY, {}), Workers(1, 1))
