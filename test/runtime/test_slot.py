import threading

import pytest

from depth_retrofit_ros.runtime.slot import LatestSlot
from test.waiting import PATIENCE_S


class WatchedCondition(threading.Condition):
    """Tells when somebody waits: whoever takes its lock afterwards finds him waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_for.set()
        return super().wait(timeout)


def test_the_newest_item_wins_and_the_overwritten_ones_are_counted() -> None:
    slot: LatestSlot[int] = LatestSlot()
    for item in range(5):
        assert slot.put(item)
    assert (slot.received, slot.dropped, slot.waiting, slot.taken) == (5, 4, 1, 0)
    assert slot.take() == 4
    assert (slot.received, slot.dropped, slot.waiting, slot.taken) == (5, 4, 0, 1)


def test_take_waits_for_an_item_and_gives_up_after_the_timeout() -> None:
    condition = WatchedCondition()
    slot: LatestSlot[str] = LatestSlot(condition)
    assert slot.take(timeout_s=0.01) is None
    condition.waited_for.clear()

    def put_late() -> None:
        assert condition.waited_for.wait(PATIENCE_S)
        slot.put("late")

    thread = threading.Thread(target=put_late)
    thread.start()
    assert slot.take(timeout_s=PATIENCE_S) == "late"
    thread.join()
    assert slot.taken == 1


def test_close_drops_what_waits_refuses_what_comes_and_wakes_the_consumer() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1)
    slot.close()
    slot.close()
    assert (slot.received, slot.dropped, slot.waiting) == (1, 1, 0)
    assert not slot.put(2)
    assert slot.received == 1
    assert slot.take() is None

    condition = WatchedCondition()
    blocked: LatestSlot[int] = LatestSlot(condition)
    taken: list[int | None] = []
    consumer = threading.Thread(target=lambda: taken.append(blocked.take()))
    consumer.start()
    assert condition.waited_for.wait(PATIENCE_S)
    blocked.close()
    consumer.join(PATIENCE_S)
    assert taken == [None]


@pytest.mark.parametrize("producers", [1, 3])
def test_counts_add_up_with_several_producers(producers: int) -> None:
    slot: LatestSlot[int] = LatestSlot()
    taken = 0
    threads = [threading.Thread(target=lambda: [slot.put(i) for i in range(500)]) for _ in range(producers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += slot.take(timeout_s=0.01) is not None
        with slot.condition:
            assert slot.received == slot.dropped + slot.taken + slot.waiting
    for thread in threads:
        thread.join()
    taken += slot.take(timeout_s=0.0) is not None
    assert slot.received == 500 * producers
    assert slot.taken == taken
