import threading

import pytest

from depth_retrofit_ros.runtime.slot import LatestSlot


def test_the_newest_item_wins_and_the_overwritten_ones_are_counted() -> None:
    slot: LatestSlot[int] = LatestSlot()
    for item in range(5):
        assert slot.put(item)
    assert (slot.received, slot.dropped, slot.waiting, slot.taken) == (5, 4, 1, 0)
    assert slot.take() == 4
    assert (slot.received, slot.dropped, slot.waiting, slot.taken) == (5, 4, 0, 1)


def test_take_waits_for_an_item_and_gives_up_after_the_timeout() -> None:
    slot: LatestSlot[str] = LatestSlot()
    assert slot.take(timeout_s=0.01) is None
    thread = threading.Timer(0.05, slot.put, args=("late",))
    thread.start()
    assert slot.take(timeout_s=5.0) == "late"
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

    blocked: LatestSlot[int] = LatestSlot()
    taken: list[int | None] = []
    consumer = threading.Thread(target=lambda: taken.append(blocked.take()))
    consumer.start()
    blocked.close()
    consumer.join(timeout=5.0)
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
