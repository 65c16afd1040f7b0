import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from depth_retrofit_ros.runtime.worker import FrameCounts, Worker


def never(error: Exception) -> None:
    pytest.fail(f"reported {error!r}")


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.002)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_busy_worker_takes_the_newest_and_counts_the_rest(gate: threading.Event) -> None:
    done: list[int] = []
    started = threading.Event()

    def process(item: int) -> None:
        started.set()
        gate.wait()
        done.append(item)

    worker = Worker(process, never)
    worker.start()
    worker.submit(0)
    assert started.wait(5.0)
    for item in (1, 2, 3):
        worker.submit(item)
    assert worker.counts() == FrameCounts(received=4, processed=0, dropped=2, failed=0, pending=2)
    gate.set()
    wait_until(lambda: worker.counts().pending == 0)
    assert done == [0, 3]
    assert worker.counts() == FrameCounts(received=4, processed=2, dropped=2, failed=0, pending=0)
    worker.stop()


def test_a_failure_is_counted_and_reported_and_the_next_item_is_processed() -> None:
    done: list[int] = []
    reported: list[Exception] = []

    def process(item: int) -> None:
        if item % 2:
            raise ValueError(f"bad {item}")
        done.append(item)

    worker = Worker(process, reported.append)
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

    worker = Worker(process, never)
    worker.start()
    worker.submit(1)
    assert started.wait(5.0)
    worker.submit(2)
    threading.Timer(0.05, gate.set).start()
    worker.stop()
    worker.stop()
    assert done == [1]
    assert worker.counts() == FrameCounts(received=2, processed=1, dropped=1, failed=0, pending=0)
    assert not worker.submit(3)
    assert worker.counts().received == 2


def test_a_worker_that_was_never_started_can_be_stopped() -> None:
    worker: Worker[int] = Worker(lambda item: None, never)
    worker.submit(1)
    worker.stop()
    assert worker.counts() == FrameCounts(received=1, dropped=1)


def test_the_account_is_exact_at_every_moment_under_overload() -> None:
    def process(item: int) -> None:
        time.sleep(0.0003)
        if item % 7 == 0:
            raise RuntimeError("unlucky")

    worker = Worker(process, lambda error: None)
    worker.start()

    def produce() -> None:
        for item in range(2000):
            worker.submit(item)
            time.sleep(0.00005)

    producer = threading.Thread(target=produce)
    producer.start()
    readings = 0
    while producer.is_alive():
        c = worker.counts()
        assert c.received == c.processed + c.dropped + c.failed + c.pending
        assert 0 <= c.pending <= 2
        readings += 1
        time.sleep(0.001)
    producer.join()
    worker.stop()
    c = worker.counts()
    assert (c.received, c.pending) == (2000, 0)
    assert c.received == c.processed + c.dropped + c.failed
    assert c.dropped > 0 and c.failed > 0 and readings > 10


def test_the_rate_limit_holds_and_can_be_lifted_while_running() -> None:
    starts: list[float] = []
    worker: Worker[int] = Worker(lambda item: starts.append(time.monotonic()), never, rate_hz=20.0)
    worker.start()
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        worker.submit(0)
        time.sleep(0.002)
    assert 4 <= len(starts) <= 13  # 12 on an idle machine; a loaded one may miss some, never add any

    worker.rate_hz = 0.5  # the next start would be 2 s away …
    worker.submit(1)
    count = len(starts)
    worker.rate_hz = 0.0  # … but the limit is gone
    worker.submit(2)
    wait_until(lambda: len(starts) > count, timeout_s=1.0)
    worker.stop()


def test_an_idle_worker_keeps_no_frame_alive() -> None:
    class Big:
        pass

    worker: Worker[Big] = Worker(lambda item: None, never)
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
        time.sleep(0.02)
        if item % 2:
            raise ValueError(item)
        done.append(item)

    worker: Worker[int] = Worker(process, done.append)
    worker.start()
    worker.wait_until_idle()  # nothing came yet
    for item in range(4):
        worker.submit(item)
        worker.wait_until_idle()
        assert len(done) == item + 1
    assert (worker.counts().processed, worker.counts().failed, worker.counts().dropped) == (2, 2, 0)
    worker.stop()
