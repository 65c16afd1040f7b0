"""Tasks by workers of every engine: each once, those of workers that end again with a limit, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from depth_retrofit_ros.batch.engine import Engine, Job, Rooms, Workers
from depth_retrofit_ros.batch.engines import choose_workers, make_engine
from depth_retrofit_ros.batch.local_engine import LocalEngine
from depth_retrofit_ros.batch.schedule import Asked, run_in_order, run_tasks
from depth_retrofit_ros.errors import DepthRetrofitError, ImageError, OutputError, SetupError, UsageError
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

    def on_done(self, key: str, value: Any) -> Iterable[Asked]:
        assert key not in self.done
        self.done[key] = value
        return self._follow(key)

    def on_failed(self, key: str, reason: str) -> None:
        assert key not in self.failed
        self.failed[key] = reason

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
        assert opened.busy == 0
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
        assert outcomes[0].value == {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "0"}
        (pid,) = engine.pids
        engine.submit("long", ("wait", "long"), False, False)
        while not (tmp_path / "long").exists():
            engine.wait(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_follows_from_a_task_goes_first() -> None:
    order: list[str] = []

    class Noting:
        described, workers, busy = "noting", 1, 0

        def __enter__(self) -> Noting:
            return self

        def __exit__(self, *of_error: object) -> None: ...

        def has_room(self, ahead: bool, alone: bool) -> bool:
            return not order or len(order) == self.told

        def submit(self, key: str, task: Any, ahead: bool, alone: bool) -> None:
            order.append(key)

        told = 0

        def wait(self, timeout_s: float) -> list[Any]:
            from depth_retrofit_ros.batch.engine import Outcome

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
    assert rooms.close(0) == ["suspect"] and rooms.busy == 0


def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depth_retrofit_ros.batch.engines.cpus", lambda: 16)
    assert choose_workers(None, 4, 0.0, "cpu") == Workers(4, 4)
    assert choose_workers(3, 2, 0.0, "cpu") == Workers(3, 2)
    assert choose_workers(8, 4, 0.5, "cuda") == Workers(8, 4, 0.5)
    with pytest.raises(UsageError, match="a share of one"):
        choose_workers(1, 4, 1.5, "cuda")
    with pytest.raises(UsageError, match="workers on CUDA"):
        choose_workers(1, 4, 1.0, "cpu")
    with pytest.raises(UsageError, match="--on spark is no engine"):
        make_engine("spark", Job(FACTORY, {}), Workers(1, 1))


def test_without_ray_one_line_says_what_to_install() -> None:
    if find_spec("ray") is not None:
        pytest.skip("ray is installed")
    with pytest.raises(SetupError, match=r"--on ray needs ray: pip install 'depth_retrofit_ros\[ray\]'"):
        make_engine("ray", Job(FACTORY, {}), Workers(1, 1))
