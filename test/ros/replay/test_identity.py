"""An answer belongs to an image for certain, or to none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from depth_retrofit_ros.ros.replay.identity import Event, tell_apart


def images(*stamps: int) -> list[Event]:
    """One every 10 ns."""
    return [Event(stamp, 10 * number) for number, stamp in enumerate(stamps)]


def test_different_stamps_tell() -> None:
    assert tell_apart(images(5, 6, 7, 8), [Event(6, 15), Event(8, 40)]) == [1, 3]
    assert tell_apart(images(5), [Event(9, 15)]) == [None]
    assert tell_apart([], []) == []


def test_where_all_are_answered_the_order_tells() -> None:
    assert tell_apart(images(0, 0, 0), [Event(0, 100)] * 3) == [0, 1, 2]


def test_a_loop_is_told_apart_by_what_lies_between() -> None:
    loop = images(1, 2, 3, 1, 2, 3)
    assert tell_apart(loop, [Event(1, 5), Event(3, 25), Event(1, 35), Event(2, 100)]) == [0, 2, 3, 4]


def test_an_answer_is_never_older_than_its_image() -> None:
    assert tell_apart(images(0, 0, 0), [Event(0, 5), Event(0, 100)]) == [0, None]


def test_of_equal_ones_with_a_gap_it_cannot_be_told() -> None:
    assert tell_apart(images(0, 0, 7, 0), [Event(0, 100), Event(7, 100), Event(0, 100)]) == [None, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 30)), max_size=12))
def test_what_is_certain_is_right(run: list[tuple[int, bool, int]]) -> None:
    shown = images(*(stamp for stamp, _, _ in run))
    truth = [number for number, (_, answered, _) in enumerate(run) if answered]
    answers, at_ns = [], 0
    for number in truth:
        at_ns = max(at_ns, shown[number].at_ns + run[number][2])
        answers.append(Event(shown[number].stamp_ns, at_ns))
    told = tell_apart(shown, answers)
    assert len(told) == len(truth) and all(number in (None, right) for number, right in zip(told, truth, strict=True))
