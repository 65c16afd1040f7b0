from depth_retrofit_ros.runtime.watchdog import FAILING, FIRST, STUCK, Watchdog
from depth_retrofit_ros.runtime.worker import FrameCounts


class Watched:
    """A watchdog, and the seconds that pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._dog = Watchdog(patience_s=3.0, first_s=120.0, clock_s=lambda: self.now_s)

    def after(
        self,
        seconds: float,
        processed: int = 0,
        failed: int = 0,
        pending: int = 0,
        usual_s: float = 0.05,
        period_s: float = 0.0,
        is_warming: bool = False,
        is_building: bool = False,
    ) -> str | None:
        self.now_s += seconds
        counts = FrameCounts(processed + failed + pending, processed, 0, failed, pending)
        return self._dog.check(counts, usual_s, period_s, is_warming, is_building)


def test_an_image_that_does_not_end_is_told_after_the_patience_and_its_end_ends_that() -> None:
    watched = Watched()
    assert watched.after(0.0, processed=5) is None
    assert watched.after(1.0, processed=5, pending=2) is None, "just taken"
    assert watched.after(2.9, processed=5, pending=2) is None
    assert watched.after(0.2, processed=5, pending=2) == STUCK
    assert watched.after(60.0, processed=5, pending=1) == STUCK
    assert watched.after(1.0, processed=6, pending=1) is None


def test_a_first_image_that_does_not_end_is_told() -> None:
    watched = Watched()
    assert [watched.after(1.0, pending=1) for _ in range(5)] == [None, None, None, FIRST, FIRST], "kernels may be compiled"
    assert watched.after(114.0, pending=1) == FIRST
    assert watched.after(2.0, pending=1) == STUCK


def test_the_second_image_has_no_kernels_to_wait_for() -> None:
    watched = Watched()
    assert watched.after(60.0, pending=1) is None and watched.after(60.0, pending=1) == FIRST
    assert watched.after(1.0, processed=1, pending=1) is None
    assert watched.after(3.0, processed=1, pending=1) == STUCK


def test_a_warm_up_for_another_size_is_no_hang_and_does_not_count_as_time_of_the_image() -> None:
    watched = Watched()
    assert watched.after(0.0, processed=5, pending=1) is None
    told = [watched.after(1.0, processed=5, pending=1, is_warming=True) for _ in range(30)]
    assert told == [None] * 3 + [FIRST] * 27
    assert watched.after(2.0, processed=5, pending=1) is None, "the image itself"
    assert watched.after(1.5, processed=5, pending=1) == STUCK


def test_a_warm_up_that_does_not_end_is_told() -> None:
    watched = Watched()
    told = [watched.after(60.0, processed=5, pending=1, is_warming=True) for _ in range(3)]
    assert told == [None, FIRST, STUCK]


def test_where_nothing_comes_any_more_there_is_nothing_that_fails() -> None:
    watched = Watched()
    assert [watched.after(1.0, failed=failed) for failed in (1, 2, 3, 4, 5)] == [None, None, None, FAILING, FAILING]
    assert [watched.after(1.0, failed=5) for _ in range(4)] == [FAILING, FAILING, None, None], "the input's silence is the news"
    assert watched.after(1.0, failed=6) == FAILING, "and it goes on as it was"


def test_slow_is_not_stuck() -> None:
    watched = Watched()
    assert [watched.after(5.0, processed=1, pending=1, usual_s=2.0) for _ in range(4)] == [None] * 4, "ten times the usual"
    assert watched.after(5.0, processed=1, pending=1, usual_s=2.0) == STUCK


def test_an_image_may_wait_for_its_turn_under_a_rate_limit() -> None:
    watched = Watched()
    assert [watched.after(50.0, processed=1, pending=1, period_s=100.0) for _ in range(3)] == [None] * 3
    assert watched.after(4.0, processed=1, pending=1, period_s=100.0) == STUCK


def test_images_that_all_fail_are_told_after_the_patience_and_an_answer_ends_that() -> None:
    watched = Watched()
    assert watched.after(1.0, processed=9, failed=2) is None, "answers between them"
    assert [watched.after(1.0, processed=9, failed=failed) for failed in (4, 5, 6, 7, 8)] == [None, None, None, FAILING, FAILING]
    assert watched.after(1.0, processed=10, failed=9) is None
    assert watched.after(60.0, processed=10, failed=11) is None, "two bad images in a row"


def test_nothing_to_do_is_nothing_to_tell() -> None:
    watched = Watched()
    assert [watched.after(100.0, processed=7, failed=1) for _ in range(3)] == [None] * 3


def test_a_program_in_the_making_is_no_hang_for_minutes_and_counts_neither_for_the_warm_up_nor_for_the_image() -> None:
    for warming in (True, False):
        watched = Watched()
        assert watched.after(0.0, processed=5, pending=1) is None
        told = [watched.after(60.0, processed=5, pending=1, is_warming=warming, is_building=True) for _ in range(20)]
        assert told == [None] + [FIRST] * 19
        if warming:
            assert watched.after(1.0, processed=5, pending=1, is_warming=True) is None, "the rest of the warm-up"
            assert watched.after(119.0, processed=5, pending=1, is_warming=True) == FIRST
        assert watched.after(2.0, processed=5, pending=1) is None, "the image itself"
        assert watched.after(1.5, processed=5, pending=1) == STUCK


def test_a_program_that_is_never_made_is_told() -> None:
    watched = Watched()
    told = [watched.after(1800.0, processed=5, pending=1, is_warming=True, is_building=True) for _ in range(3)]
    assert told == [None, FIRST, STUCK]
