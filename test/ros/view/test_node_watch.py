"""What is said of a node that is looked at, from its reports and statistics alone."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.view.node_watch import LOST_S, QUIET_S, SEARCH_S, NodeWatch
from test.ros.graph import NODE


def report(message: str = "10.0 Hz", level: bytes = DiagnosticStatus.OK, node: str = NODE, received: int = 7) -> DiagnosticArray:
    counts = {"received": received, "processed": 5, "dropped": 1, "failed": 1}
    values = [KeyValue(key=name, value=str(count)) for name, count in counts.items()]
    concerns = [DiagnosticStatus(name=f"{node}: input", level=level, message=message, values=values)]
    return DiagnosticArray(status=[*concerns, DiagnosticStatus(name=f"{node}: pipeline", message="fine")])


def stats(processed: int, total_ms: float = 80.0) -> FrameStats:
    counted = {"received": processed + 3, "processed": processed, "dropped": 2, "failed": 1}
    return FrameStats(**counted, total_ms=total_ms, budget=0.25, metric=True, scale_source="model", model="compact")


def watch() -> NodeWatch:
    return NodeWatch(NODE, "ROS domain 7")


def test_it_is_looked_for_a_moment_before_it_is_called_missing() -> None:
    found = watch()
    assert found.state(SEARCH_S / 2).headline == f"looking for {NODE}"
    state = found.state(SEARCH_S)
    assert state.level == "lost" and not state.alive
    assert state.headline == f"no node: none called {NODE} reports in ROS domain 7."


def test_other_nodes_are_named() -> None:
    found = watch()
    found.reported(report(node="/left/depth"), 1.0)
    for number in range(100):
        found.reported(report(node=f"/n{number}"), 1.0)
    headline = found.state(SEARCH_S).headline
    assert "/left/depth" in headline and "--node" in headline and len(headline) < 200


def test_a_node_without_frames_says_why_itself() -> None:
    found = watch()
    found.reported(report("waiting for image on /image", DiagnosticStatus.WARN), 1.0)
    state = found.state(1.5)
    assert (state.level, state.headline) == ("warn", "no frames: waiting for image on /image") and state.alive
    assert state.lines == ("received 7 · processed 5 · dropped 1 · failed 1",)
    found.reported(report("inactive"), 2.0)
    assert found.state(2.0).headline == "no frames: inactive"


def test_the_rate_is_of_what_the_node_counts_also_where_statistics_are_missed() -> None:
    found = watch()
    found.reported(report(), 0.0)
    for number in (1, 2, 5, 9, 10, 11):
        found.answered(stats(100 + number), number / 10)
    state = found.state(1.2)
    assert state.level == "ok"
    assert state.headline == "10.0 frames/s · 80 ms each · budget 0.25"
    assert state.lines == ("received 114 · processed 111 · dropped 2 · failed 1", "compact: metres by model")


def test_without_answers_there_is_no_rate_and_a_slow_node_is_waited_for() -> None:
    found = watch()
    found.reported(report(), 0.0)
    found.answered(stats(1), 1.0)
    assert "frames/s" in found.state(1.0 + QUIET_S / 2).headline
    found.reported(report(), 4.0)
    assert found.state(1.1 + QUIET_S).headline == "no frames: images come, 10.0 Hz, and none is answered"
    found.answered(stats(2, total_ms=5000.0), 5.0)
    for second in range(5, 16):
        found.reported(report(), float(second))
    assert found.state(15.0).headline.startswith("0.")


def test_a_silent_node_is_lost_and_found_again_without_its_old_rate() -> None:
    found = watch()
    found.reported(report(), 10.0)
    found.answered(stats(1000), 10.0)
    state = found.state(11.0 + LOST_S)
    assert not state.alive and state.headline == f"node lost, waiting: {NODE} is silent for 5 s"
    found.reported(report(), 30.0)
    found.answered(stats(1), 30.0)
    found.answered(stats(2), 30.5)
    assert found.state(30.5).headline.startswith("2.0 frames/s")


def test_a_node_that_was_activated_anew_counts_from_zero() -> None:
    found = watch()
    found.reported(report(), 0.0)
    found.answered(stats(1000), 0.0)
    found.answered(stats(1), 1.0)
    found.answered(stats(2), 1.5)
    assert found.state(1.5).headline.startswith("2.0 frames/s")


def test_who_looks_again_after_a_while_starts_anew() -> None:
    found = watch()
    found.reported(report(), 0.0)
    found.forget(100.0)
    assert found.state(100.5).headline == f"looking for {NODE}"
