"""Who has how much of the time of a thread that several share."""

from __future__ import annotations

import pytest

from depth_retrofit_ros.runtime.time_shares import WINDOW_S, TimeShares


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def spend(shares: TimeShares, clock: Clock, seconds: float, **parts: float) -> None:
    """In turns of a tenth of a second, of which each has its part."""
    for _ in range(round(10 * seconds)):
        for who, part in parts.items():
            shares.used(who, clock.now_s, clock.now_s + 0.1 * part)
            clock.now_s += 0.1 * part
        clock.now_s += 0.1 * (1 - sum(parts.values()))


def test_who_is_alone_has_all() -> None:
    clock = Clock()
    shares = TimeShares(clock)
    assert shares.share("front") == 1.0
    spend(shares, clock, 10.0, front=1.0)
    assert shares.share("front") == 1.0


@pytest.mark.parametrize(
    ("parts", "share"),
    [
        ({"front": 0.5, "rear": 0.5}, 0.5),
        ({"front": 0.9, "rear": 0.1}, 0.9),  # what the other leaves
        ({"front": 0.1, "rear": 0.9}, 0.5),  # an equal part, although the other has taken more
        ({"front": 0.2, "rear": 0.2, "left": 0.2}, 0.6),
        ({"front": 0.2, "rear": 0.4, "left": 0.4}, 1 / 3),
    ],
)
def test_an_equal_part_or_what_the_others_leave(parts: dict[str, float], share: float) -> None:
    clock = Clock()
    shares = TimeShares(clock)
    spend(shares, clock, 8.0, **parts)
    assert shares.share("front") == pytest.approx(share, abs=0.01)


def test_before_the_window_is_full_time_counts_from_the_start() -> None:
    clock = Clock()
    shares = TimeShares(clock)
    spend(shares, clock, 1.0, front=0.2, rear=0.4)
    assert shares.share("front") == pytest.approx(0.6, abs=0.01)


def test_one_that_stops_gives_its_share_away_and_one_that_comes_takes_it() -> None:
    clock = Clock()
    shares = TimeShares(clock)
    spend(shares, clock, 5.0, front=0.5, rear=0.5)
    spend(shares, clock, WINDOW_S + 0.2, front=1.0)
    assert shares.share("front") == 1.0
    assert shares.share("rear") == 0.5  # at once
    spend(shares, clock, WINDOW_S, front=0.5, rear=0.5)
    assert shares.share("front") == pytest.approx(0.5, abs=0.01)


def test_nothing_older_than_the_window_is_kept() -> None:
    clock = Clock()
    shares = TimeShares(clock)
    spend(shares, clock, 100.0, front=0.5, rear=0.5)
    assert len(shares._spans) <= 2 * (10 * WINDOW_S + 1)
