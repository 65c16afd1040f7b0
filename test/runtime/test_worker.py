"""One thread takes the newest item, and every item is accounted for."""

from __future__ import annotations

import functools
import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from depth_retrofit_ros.runtime import worker as worker_module
from depth_retrofit_ros.runtime.worker import FrameCounts, Worker
from test.waiting import PATIENCE_S, wait_until


def never(error: Exception) -> None:
    pytest.fail(f"reported {error!r}")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def as_it_is(item: int) -> int:
    return item


def test_a_busy_worker_takes_the_newest_and_counts_the_rest(gate: threading.Event) -> None:
    done: list[int] = []
    started = threading.Event()

    def process(item: int) -> None:
        started.set()
        gate.wait()
        done.append(item)

    worker = Worker(as_it_is, process, never)
    worker.start()
    worker.submit(0)
    assert started.wait(PATIENCE_S)
    for item in (1, 2, 3):
        worker.submit(item)
    assert worker.counts() == FrameCounts(received=4, processed=0, dropped=2, failed=0, pending=2)
    gate.set()
    wait_until(lambda: worker.counts().pending == 0)
    assert done == [0, 3]
    assert worker.counts() == FrameCounts(received=4, processed=2, dropped=2, failed=0, pending=0)
    worker.stop()


def test_with_overlap_one_that_waits_is_begun_before_the_one_at_work_is_finished(gate: threading.Event) -> None:
    steps: list[str] = []

    def begin(item: int) -> int:
        steps.append(f"begin {item}")
        if item == 0:
            gate.wait()
        return item

    worker = Worker(begin, lambda item: steps.append(f"finish {item}"), never, overlap=True)
    worker.start()
    worker.submit(0)
    wait_until(lambda: steps == ["begin 0"])
    worker.submit(1)
    gate.set()
    wait_until(lambda: worker.counts().pending == 0)
    assert steps == ["begin 0", "begin 1", "finish 0", "finish 1"]
    worker.submit(2)  # alone: nothing is waited for
    wait_until(lambda: worker.counts().pending == 0)
    assert steps[4:] == ["begin 2", "finish 2"]
    worker.stop()


def test_with_overlap_one_is_advanced_before_the_next_is_begun(gate: threading.Event) -> None:
    """So that a device is never without work while the next item is decoded."""
    steps: list[str] = []

    def step(name: str, item: int) -> int:
        steps.append(f"{name} {item}")
        if item == 0 and name == "begin":
            gate.wait()
        if item == 2 and name == "advance":
            raise ValueError("a bad one")
        if item == 1 and name == "finish":
            gates[1].wait()
        return item

    gates, reported = (gate, threading.Event()), list[Exception]()
    begin, advance, finish = (functools.partial(step, name) for name in ("begin", "advance", "finish"))
    worker: Worker[int, int] = Worker(begin, finish, reported.append, overlap=True, advance=advance)  # type: ignore[arg-type]
    worker.start()
    worker.submit(0)
    wait_until(lambda: steps == ["begin 0"])
    worker.submit(1)
    gate.set()
    wait_until(lambda: "finish 1" in steps)
    worker.submit(2)
    gates[1].set()
    wait_until(lambda: worker.counts().pending == 0)
    assert steps[:6] == ["begin 0", "advance 0", "begin 1", "finish 0", "advance 1", "finish 1"]
    assert steps[6:] == ["begin 2", "advance 2"] and [str(error) for error in reported] == ["a bad one"]
    assert (worker.counts().processed, worker.counts().failed) == (2, 1)
    worker.stop()


def test_an_errand_is_run_when_nothing_else_is_to_be_done_and_is_no_item(gate: threading.Event) -> None:
    done, reported = list[str](), list[Exception]()

    def finish(item: int) -> None:
        done.append(f"item {item}")
        gate.wait()

    worker: Worker[int, int] = Worker(as_it_is, finish, reported.append)
    worker.start()
    worker.submit(0)
    wait_until(lambda: done == ["item 0"])
    worker.run_when_idle(lambda: done.append("an old errand"))
    worker.run_when_idle(lambda: done.append("errand"))
    worker.submit(1)
    gate.set()
    wait_until(lambda: len(done) == 3)
    assert done == ["item 0", "item 1", "errand"]
    worker.run_when_idle(lambda: done.remove("nothing of the kind"))
    wait_until(lambda: reported)
    worker.submit(2)
    wait_until(lambda: worker.counts().pending == 0)
    assert worker.counts() == FrameCounts(received=3, processed=3) and len(done) == 4
    assert worker.stop()
    worker.run_when_idle(lambda: done.append("too late"))
    assert worker.stop() and len(done) == 4


def test_with_overlap_the_rate_is_kept_and_nothing_waits_for_it() -> None:
    finished: list[int] = []
    worker: Worker[int, int] = Worker(as_it_is, finished.append, never, rate_hz=0.001, overlap=True)
    worker.start()
    worker.submit(0)
    worker.submit(1)
    wait_until(lambda: len(finished) >= 1)  # not held back for the other one, which is due after a thousand seconds
    worker.stop()
    assert len(finished) == 1


def test_a_stop_between_two_that_overlap_finishes_the_one_that_was_begun() -> None:
    done: list[int] = []
    worker: Worker[int, int]

    def begin(item: int) -> int:
        worker.submit(item + 1)  # so that one is due, which the stop then drops
        return item

    class StoppedThen(Worker[int, int]):
        def one_is_due(self) -> bool:
            due = super().one_is_due()
            self._slot.close()
            return due

    worker = StoppedThen(begin, done.append, never, overlap=True)
    worker.start()
    worker.submit(0)
    worker.wait_until_idle()
    worker.stop()
    assert done == [0] and worker.counts() == FrameCounts(received=2, processed=1, dropped=1)


def test_a_rate_that_changes_at_any_moment_ends_no_thread() -> None:
    """Another thread may lift the limit between any two reads of it."""
    rates = itertools.cycle([1000.0, 0.0])

    class Fickle(Worker[int, int]):
        rate_hz = property(lambda self: next(rates), lambda self, value: None)

    worker = Fickle(as_it_is, lambda item: None, never, overlap=True)
    worker.start()
    for item in range(20):
        worker.submit(item)
        wait_until(lambda: worker.counts().pending == 0)
    worker.stop()


def test_with_overlap_stop_finishes_what_was_begun() -> None:
    done: list[int] = []
    worker: Worker[int, int] = Worker(as_it_is, done.append, never, overlap=True)
    worker.start()
    for item in range(50):
        worker.submit(item)
    worker.stop()
    counts = worker.counts()
    assert counts.pending == 0 and counts.processed == len(done) and counts.received == counts.processed + counts.dropped == 50


def test_a_failure_is_counted_and_reported_and_the_next_item_is_processed() -> None:
    done: list[int] = []
    reported: list[Exception] = []

    def process(item: int) -> None:
        if item % 2:
            raise ValueError(f"bad {item}")
        done.append(item)

    worker = Worker(as_it_is, process, reported.append)
    worker.start()
    for item in range(6):
        worker.submit(item)
        wait_until(lambda: worker.counts().pending == 0)
    worker.stop()
    assert done == [0, 2, 4]
    assert [str(error) for error in reported] == ["bad 1", "bad 3", "bad 5"]
    assert worker.counts() == FrameCounts(received=6, processed=3, dropped=0, failed=3, pending=0)


def test_stop_finishes_the_item_in_work_and_drops_the_waiting_one(gate: threading.Event) -> None:
    started = threading.Event()
    done: list[int] = []

    def process(item: int) -> None:
        started.set()
        gate.wait()
        done.append(item)

    worker = Worker(as_it_is, process, never)
    worker.start()
    worker.submit(1)
    assert started.wait(PATIENCE_S)
    worker.submit(2)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    wait_until(lambda: worker.counts().dropped == 1)
    gate.set()
    stopping.join()
    worker.stop()
    assert done == [1]
    assert worker.counts() == FrameCounts(received=2, processed=1, dropped=1, failed=0, pending=0)
    assert not worker.submit(3)
    assert worker.counts().received == 2


def test_a_worker_that_was_never_started_can_be_stopped() -> None:
    worker: Worker[int, int] = Worker(as_it_is, lambda item: None, never)
    worker.submit(1)
    worker.stop()
    assert worker.counts() == FrameCounts(received=1, dropped=1)


@pytest.mark.parametrize("overlap", [False, True])
def test_the_counts_are_exact_at_every_moment_under_overload(overlap: bool) -> None:
    def begin(item: int) -> int:
        if item % 11 == 0:
            raise RuntimeError("unlucky from the start")
        return item

    def process(item: int) -> None:
        time.sleep(0.0003)
        if item % 7 == 0:
            raise RuntimeError("unlucky")

    worker = Worker(begin, process, lambda error: None, overlap=overlap)
    worker.start()

    def produce() -> None:
        items = itertools.count()
        # However the threads are scheduled, until there was enough of everything.
        while (number := next(items)) < 2000 or not (worker.counts().dropped and worker.counts().failed):
            worker.submit(number)
            time.sleep(0.00005)

    producer = threading.Thread(target=produce)
    producer.start()
    readings = 0
    while producer.is_alive() or readings <= 10:
        c = worker.counts()
        assert c.received == c.processed + c.dropped + c.failed + c.pending
        assert 0 <= c.pending <= 2 + overlap
        readings += 1
        time.sleep(0.001)
    producer.join()
    worker.stop()
    c = worker.counts()
    assert c.received >= 2000 and c.pending == 0
    assert c.received == c.processed + c.dropped + c.failed
    assert c.dropped > 0 and c.failed > 0


class Clock:
    """Stands still until it is set, and counts how often it was read."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.readings = 0

    def monotonic(self) -> float:
        self.readings += 1
        return self.now_s


def test_the_rate_limit_holds_and_can_be_lifted_while_running(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, done = Clock(), list[int]()
    monkeypatch.setattr(worker_module, "time", clock)
    worker: Worker[int, int] = Worker(as_it_is, done.append, never, rate_hz=100.0)
    worker.start()
    worker.submit(0)
    wait_until(lambda: done == [0])  # the first at once

    def looked_again_and_waits() -> None:
        before = clock.readings
        wait_until(lambda: clock.readings >= before + 3)

    for number in (1, 2, 3):  # the others on a grid of 10 ms, none before its time
        worker.submit(number)
        clock.now_s = 100.0 + 0.01 * number - 0.0001
        looked_again_and_waits()
        assert done == list(range(number))
        clock.now_s = 100.0 + 0.01 * number + 0.0001
        wait_until(lambda number=number: done == list(range(number + 1)))  # type: ignore[misc]

    worker.rate_hz = 0.001  # the next start would be a thousand seconds away …
    worker.submit(4)
    worker.rate_hz = 0.0  # … but the limit is gone
    worker.submit(5)
    wait_until(lambda: done[-1] == 5)
    worker.stop()


@pytest.mark.parametrize("overlap", [False, True])
def test_an_idle_worker_keeps_no_frame_alive(overlap: bool) -> None:
    class Big:
        pass

    worker: Worker[Big, Big] = Worker(lambda item: item, lambda item: None, never, overlap=overlap)
    worker.start()
    big = Big()
    alive = weakref.ref(big)
    worker.submit(big)
    wait_until(lambda: worker.counts().processed == 1)
    del big
    gc.collect()
    wait_until(lambda: alive() is None)
    worker.stop()


def test_waiting_until_idle_is_waiting_for_the_report_too() -> None:
    done: list[object] = []

    def process(item: int) -> None:
        time.sleep(0.02)  # room for one who does not wait to be seen
        if item % 2:
            raise ValueError(item)
        done.append(item)

    worker: Worker[int, int] = Worker(as_it_is, process, done.append)
    worker.start()
    worker.wait_until_idle()  # nothing came yet
    for item in range(4):
        worker.submit(item)
        worker.wait_until_idle()
        assert len(done) == item + 1
    assert (worker.counts().processed, worker.counts().failed, worker.counts().dropped) == (2, 2, 0)
    worker.stop()
