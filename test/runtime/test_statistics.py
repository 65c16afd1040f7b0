import numpy as np
import pytest

from depth_retrofit_ros.runtime.statistics import FrameStatistics, RateMeter, StageStatistics, Window


def test_percentiles_are_those_of_the_last_values_only() -> None:
    window = Window(size=100)
    for value in [1e6] * 50 + list(range(100)):
        window.add(value)
    percentiles = window.percentiles()
    assert percentiles is not None
    assert percentiles.count == 100
    assert percentiles.p50 == pytest.approx(49.5)
    assert percentiles.p95 == pytest.approx(np.percentile(range(100), 95))
    assert percentiles.p99 == pytest.approx(np.percentile(range(100), 99))


def test_no_values_no_percentiles() -> None:
    assert Window().percentiles() is None
    assert StageStatistics().percentiles() == {}


def test_stages_keep_their_order_and_their_own_values() -> None:
    statistics = StageStatistics()
    statistics.add({"coarse": 10.0, "refine": 2.0})
    statistics.add({"coarse": 20.0, "refine": 4.0, "cloud": 1.0})
    percentiles = statistics.percentiles()
    assert list(percentiles) == ["coarse", "refine", "cloud"]
    assert percentiles["coarse"].p50 == pytest.approx(15.0)
    assert percentiles["refine"].count == 2
    assert percentiles["cloud"].count == 1


def test_rate_of_regular_events() -> None:
    meter = RateMeter(window_s=5.0)
    for i in range(100):
        meter.tick(i * 0.1)
    assert meter.rate_hz(9.9) == pytest.approx(10.0)
    assert meter.rate_hz(9.95) == pytest.approx(10.0)


def test_rate_fades_when_events_stop_and_ends_at_zero() -> None:
    meter = RateMeter(window_s=5.0)
    assert meter.rate_hz(0.0) == 0.0
    for i in range(20):
        meter.tick(i * 0.1)
    assert 0.0 < meter.rate_hz(3.9) < 6.0
    assert meter.rate_hz(100.0) == 0.0


def test_frame_statistics_put_it_together() -> None:
    statistics = FrameStatistics()
    assert statistics.age_ms is None and statistics.input_hz == 0.0 and statistics.stages_ms == {}
    for age in (10.0, 20.0, 30.0):
        statistics.arrived()
        statistics.arrived()
        statistics.answered({"coarse": age / 10}, age)
    assert statistics.age_ms is not None
    assert statistics.age_ms.p50 == pytest.approx(20.0)
    assert statistics.stages_ms["coarse"].p50 == pytest.approx(2.0)
    assert statistics.input_hz > statistics.output_hz > 0.0
