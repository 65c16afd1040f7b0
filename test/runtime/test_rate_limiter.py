from depth_retrofit_ros.runtime.rate_limiter import RateLimiter


def granted(limiter: RateLimiter, rate_hz: float, times_s: list[float]) -> list[float]:
    return [at_s for at_s in times_s if limiter.due(rate_hz, at_s)]


def test_without_a_limit_everything_is_granted() -> None:
    times_s = [0.1 * i for i in range(20)]
    assert granted(RateLimiter(), 0.0, times_s) == times_s


def test_the_mean_is_exact_where_the_opportunities_do_not_divide_the_period() -> None:
    times_s = [100 + i / 30 for i in range(30 * 60)]
    assert len(granted(RateLimiter(), 7.0, times_s)) == 7 * 60


def test_a_late_grant_does_not_push_back_the_next() -> None:
    assert granted(RateLimiter(), 1.0, [0.0, 1.6, 2.0, 2.5, 3.0]) == [0.0, 1.6, 2.0, 3.0]


def test_missed_grid_points_are_not_made_up_for() -> None:
    assert granted(RateLimiter(), 1.0, [0.0, 10.3, 10.4, 11.2, 11.3]) == [0.0, 10.3, 11.3]


def test_a_new_rate_holds_at_once() -> None:
    limiter = RateLimiter()
    assert limiter.due(0.01, 0.0) and not limiter.due(0.01, 1.0)
    assert limiter.due(2.0, 1.0) and not limiter.due(2.0, 1.4)
    assert limiter.due(0.0, 1.4)
