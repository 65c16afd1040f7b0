"""Whatever a step, a report or the thread itself does, no item is lost from the counts and nobody waits for ever."""

from __future__ import annotations

import pytest

from depth_retrofit_ros.runtime.worker import FrameCounts, Worker
from test.runtime.test_worker import as_it_is, never


def test_a_report_that_raises_costs_no_count() -> None:
    def process(item: int) -> None:
        raise ValueError("bad")

    def report(error: Exception) -> None:
        raise OSError("the log is full")

    worker: Worker[int, int] = Worker(as_it_is, process, report)
    worker.start()
    for item in (1, 2):
        worker.submit(item)
        worker.wait_until_idle()
        assert worker.counts() == FrameCounts(received=item, failed=item)
    assert worker.stop()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_a_step_that_means_to_end_the_process_fails_and_the_next_item_is_processed(error: BaseException) -> None:
    reported: list[Exception] = []

    def process(item: int) -> None:
        if item == 0:
            raise error

    worker: Worker[int, int] = Worker(as_it_is, process, reported.append)
    worker.start()
    for item in (0, 1):
        worker.submit(item)
        worker.wait_until_idle()
    assert worker.counts() == FrameCounts(received=2, processed=1, failed=1)
    assert type(error).__name__ in str(reported[0]) and worker.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_of_a_thread_that_died_nothing_is_waited_for_and_stop_settles_what_it_left() -> None:
    class Dying(Worker[int, int]):
        def _advance_grid(self) -> None:
            raise SystemExit  # of a kind that ends a thread without a word

    worker = Dying(as_it_is, lambda item: None, never)
    worker.start()
    worker.submit(0)
    worker.wait_until_idle()
    worker.submit(1)
    worker.wait_until_idle()
    assert worker.counts() == FrameCounts(received=2, pending=2)
    assert worker.stop()
    assert worker.counts() == FrameCounts(received=2, dropped=1, failed=1)
