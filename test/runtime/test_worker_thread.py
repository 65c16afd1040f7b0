"""Several workers on one thread: whose turn it is, that none starves or is stalled, and that each one's counts add up."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from depth_retrofit_ros.runtime.worker import FrameCounts, Worker
from depth_retrofit_ros.runtime.worker_thread import WorkerThread
from test.runtime.test_worker import never
from test.waiting import PATIENCE_S, wait_until


class Held:
    """Steps that note what they do; an item is held until ``allow`` lets one through."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.finishing = threading.Event()
        self._allowed = threading.Semaphore(0)
        self.is_held = True

    def allow(self, count: int = 1) -> None:
        done = self.count
        self._allowed.release(count)
        wait_until(lambda: self.count == done + count)

    @property
    def count(self) -> int:
        return sum(step.startswith("finish") for step in self.steps)

    def release(self) -> None:
        self.is_held = False
        self._allowed.release(1000)

    def begin(self, item: str) -> str:
        if item.startswith("bad"):
            raise ValueError(item)
        self.steps.append(f"begin {item}")
        return item

    def finish(self, item: str) -> None:
        self.finishing.set()
        if self.is_held:
            assert self._allowed.acquire(timeout=PATIENCE_S)
        self.steps.append(f"finish {item}")


@pytest.fixture
def held() -> Iterator[Held]:
    steps = Held()
    yield steps
    steps.release()


def started(held: Held, thread: WorkerThread, *names: str, overlap: bool = False) -> list[Worker[str, str]]:
    workers = [Worker[str, str](held.begin, held.finish, never, 0.0, name, overlap, thread=thread) for name in names]
    for worker in workers:
        worker.start()
    return workers


def served(held: Held) -> list[str]:
    """Whose items were begun, in this order."""
    return [step.split()[1].rstrip("0123456789") for step in held.steps if step.startswith("begin")]


def test_all_that_wait_have_a_turn_each_however_fast_one_comes(held: Held) -> None:
    fast, slow, third = started(held, WorkerThread(), "fast", "slow", "third")
    fast.submit("fast0")
    wait_until(lambda: held.steps == ["begin fast0"])
    slow.submit("slow0")
    third.submit("third0")
    for number in range(1, 20):  # a burst
        fast.submit(f"fast{number}")
    for number in range(20, 26):
        held.allow()
        fast.submit(f"fast{number}")
        slow.submit(f"slow{number}")
    assert served(held)[:3] == ["fast", "slow", "third"]
    turns = served(held)[3:]
    assert turns[:4] == ["fast", "slow", "fast", "slow"] and "third" not in turns
    third.submit("third1")  # comes back: it was served longest ago
    held.allow()
    held.allow()
    assert "third" in served(held)[-2:]
    held.release()
    for worker in (fast, slow, third):
        assert worker.stop()
        counts = worker.counts()
        assert counts.pending == 0 and counts.received == counts.processed + counts.dropped + counts.failed
    assert (fast.counts().received, fast.counts().failed) == (26, 0) and fast.counts().dropped >= 19


def test_the_newest_of_each_is_served_and_older_ones_are_its_own_losses(held: Held) -> None:
    left, right = started(held, WorkerThread(), "left", "right")
    left.submit("left0")
    wait_until(lambda: held.count == 0 and held.steps == ["begin left0"])
    for number in range(1, 5):
        right.submit(f"right{number}")
    left.submit("left1")
    held.release()
    for worker in (left, right):
        worker.wait_until_idle()
    assert [step for step in held.steps if "begin" in step] == ["begin left0", "begin right4", "begin left1"]
    assert right.counts() == FrameCounts(received=4, processed=1, dropped=3)
    assert left.counts() == FrameCounts(received=2, processed=2)
    assert left.stop() and right.stop()


def test_one_whose_items_are_bad_neither_stalls_nor_counts_for_the_other() -> None:
    held, reported, thread = Held(), list[str](), WorkerThread()
    held.release()
    bad = Worker[str, str](held.begin, held.finish, lambda error: reported.append(str(error)), thread=thread)
    (good,) = started(held, thread, "good")
    bad.start()
    for number in range(10):
        bad.submit(f"bad{number}")
        good.submit(f"good{number}")
        bad.wait_until_idle()
        good.wait_until_idle()
    assert bad.counts() == FrameCounts(received=10, failed=10) and good.counts() == FrameCounts(received=10, processed=10)
    assert reported == [f"bad{number}" for number in range(10)]
    assert bad.stop() and good.stop()


def test_one_s_rate_limit_holds_nobody_else_up(held: Held) -> None:
    limited, free = started(held, WorkerThread(), "limited", "free")
    held.release()
    limited.rate_hz = 0.001
    limited.submit("limited0")
    limited.wait_until_idle()
    limited.submit("limited1")  # due after a thousand seconds
    for number in range(3):
        free.submit(f"free{number}")
        free.wait_until_idle()
    assert limited.counts() == FrameCounts(received=2, processed=1, pending=1)
    limited.rate_hz = 0.0
    free.submit("free3")  # wakes the thread
    limited.wait_until_idle()
    assert limited.stop() and free.stop()


@pytest.mark.parametrize("overlap", [False, True])
def test_one_can_stop_while_the_other_never_rests(overlap: bool) -> None:
    thread, ended = WorkerThread(), threading.Event()
    held = Held()
    held.release()
    busy, leaving = started(held, thread, "busy", "leaving", overlap=overlap)

    def keep_busy() -> None:
        while not ended.is_set():
            busy.submit("busy")
            leaving.submit("leaving")

    producer = threading.Thread(target=keep_busy)
    producer.start()
    try:
        wait_until(lambda: leaving.counts().processed > 5)
        assert leaving.stop(PATIENCE_S)
        counts, before = leaving.counts(), busy.counts().processed
        assert counts.pending == 0 and counts.received == counts.processed + counts.dropped
        assert not leaving.submit("late") and thread.count == 1
        wait_until(lambda: busy.counts().processed > before + 5)
    finally:
        ended.set()
        producer.join()
    assert busy.stop()


def test_the_thread_ends_with_the_last_worker_and_another_begins_anew(held: Held) -> None:
    thread = WorkerThread()
    held.release()
    for turn in range(2):
        left, right = started(held, thread, f"left-{turn}", f"right-{turn}")
        right.submit("right0")
        right.wait_until_idle()
        assert left.stop()
        assert [other.name for other in threading.enumerate() if other.name.endswith(f"-{turn}")] == [f"left-{turn}"]
        assert right.stop()
        assert not [other for other in threading.enumerate() if other.name.endswith(f"-{turn}")]


def test_a_worker_that_hangs_is_given_up_and_the_thread_serves_on_where_it_ever_ends(held: Held) -> None:
    hanging, other = started(held, WorkerThread(), "hanging", "other")
    hanging.submit("hanging0")
    wait_until(lambda: held.steps == ["begin hanging0"])
    other.submit("other0")
    assert not hanging.stop(0.05)
    assert hanging.counts() == FrameCounts(received=1, failed=1) and other.counts().pending == 1
    held.release()
    other.wait_until_idle()
    assert other.counts() == FrameCounts(received=1, processed=1) and hanging.counts() == FrameCounts(received=1, failed=1)
    assert other.stop()


def test_an_errand_waits_for_the_items_of_all(held: Held) -> None:
    first, second = started(held, WorkerThread(), "first", "second")
    first.submit("first0")
    wait_until(lambda: held.steps == ["begin first0"])
    first.run_when_idle(lambda: held.steps.append("errand"))
    second.submit("second0")
    held.release()
    wait_until(lambda: held.steps[-1] == "errand")
    assert held.count == 2
    assert first.stop() and second.stop()


def test_items_that_wait_together_are_begun_together_and_finished_one_by_one(held: Held) -> None:
    groups: list[list[str]] = []

    def together(items: Sequence[str]) -> list[str]:
        groups.append(list(items))
        return [held.begin(item) for item in items]

    first, second, third = started(held, WorkerThread(together, 2), "first", "second", "third", overlap=True)
    first.submit("first0")
    assert held.finishing.wait(PATIENCE_S)  # alone: none is waited for
    for worker in (first, second, third):
        worker.submit(f"{worker.name}1")
    held.release()
    for worker in (first, second, third):
        worker.wait_until_idle()
    assert groups == [["second1", "third1"]]
    begun_together = ["begin first0", "finish first0", "begin second1", "begin third1", "finish second1"]
    assert held.steps == [*begun_together, "begin first1", "finish third1", "finish first1"]
    for worker in (first, second, third):
        assert worker.counts().pending == worker.counts().failed == 0 and worker.stop()


def test_where_several_cannot_be_begun_together_each_is_begun_for_itself() -> None:
    held, reported = Held(), list[str]()

    def together(items: Sequence[str]) -> list[str]:
        raise MemoryError("too much for one")

    thread = WorkerThread(together, 4)
    workers = [
        Worker[str, str](held.begin, held.finish, lambda error: reported.append(str(error)), name=name, thread=thread)
        for name in ("good", "bad")
    ]
    for worker in workers:
        worker.start()
    workers[0].submit("good0")
    wait_until(lambda: held.steps == ["begin good0"])
    workers[0].submit("good1")
    workers[1].submit("bad1")
    held.release()
    for worker in workers:
        worker.wait_until_idle()
    assert [worker.counts() for worker in workers] == [FrameCounts(received=2, processed=2), FrameCounts(received=1, failed=1)]
    assert reported == ["bad1"] and all(worker.stop() for worker in workers)


def test_a_prepared_item_goes_on_to_the_next_step_and_one_that_cannot_be_is_counted() -> None:
    done: list[int] = []

    def prepare(item: str) -> int:
        return int(item)

    worker = Worker[Any, int](lambda number: number + 1, done.append, lambda error: None, prepare=prepare)
    worker.start()
    for item in ("1", "one", "2"):
        worker.submit(item)
        worker.wait_until_idle()
    assert done == [2, 3] and worker.counts() == FrameCounts(received=3, processed=2, failed=1) and worker.stop()


@pytest.mark.parametrize("overlap", [False, True])
def test_an_idle_thread_keeps_no_frame_of_any_worker_alive(overlap: bool) -> None:
    class Big:
        pass

    thread = WorkerThread()
    workers = [Worker[Big, Big](lambda item: item, lambda item: None, never, overlap=overlap, thread=thread) for _ in range(2)]
    alive = []
    for worker in workers:
        worker.start()
    for worker in workers:
        big = Big()
        alive.append(weakref.ref(big))
        worker.submit(big)
        del big
        worker.wait_until_idle()
    gc.collect()
    wait_until(lambda: not any(big() for big in alive))
    assert all(worker.stop() for worker in workers)


def test_who_used_no_time_leaves_it_all_to_the_other(held: Held) -> None:
    thread, shares = WorkerThread(), list[float]()
    worker: Worker[int, int] = Worker(lambda item: item, lambda item: shares.append(worker.share), never, thread=thread)
    other = Worker[str, str](held.begin, held.finish, never, thread=thread)
    worker.start()
    other.start()
    worker.submit(0)
    worker.wait_until_idle()
    other.submit("other0")
    wait_until(lambda: "begin other0" in held.steps)
    worker.submit(1)
    held.release()
    worker.wait_until_idle()
    assert shares[0] == 1.0 and 0.5 <= shares[1] < 1.0
    assert worker.stop() and other.stop()
