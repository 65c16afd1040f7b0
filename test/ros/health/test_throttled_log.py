"""Which lines are said, and which only once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.ros.health.throttled_log import REPEAT_S, ThrottledLogger


class Lines:
    """A logger that keeps what it is told: (level, line)."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def info(self, line: str) -> None:
        self.said.append(("info", line))

    def warning(self, line: str) -> None:
        self.said.append(("warning", line))

    def error(self, line: str) -> None:
        self.said.append(("error", line))


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> ThrottledLogger:
    return ThrottledLogger(lines)


def test_a_failure_is_said_again_after_ten_seconds_and_no_earlier(
    log: ThrottledLogger, lines: Lines, log_clock: SimpleNamespace
) -> None:
    for _ in range(300):  # ten seconds of a camera
        log.failure(ImageError("image is truncated"))
        log_clock.now_s += REPEAT_S / 301
    assert lines.said == [("error", "image is truncated")]
    log_clock.now_s += REPEAT_S / 100
    log.failure(ImageError("image is truncated"))
    assert lines.said == 2 * [("error", "image is truncated")]


def test_another_text_is_said_at_once(log: ThrottledLogger, lines: Lines) -> None:
    log.event("frame_id changed")
    log.event("stamps jumped back")
    log.event("frame_id changed")
    assert lines.said == [("warning", "frame_id changed"), ("warning", "stamps jumped back")]


def test_a_state_is_said_when_it_changes(log: ThrottledLogger, lines: Lines, log_clock: SimpleNamespace) -> None:
    for warning in (None, "no camera_info", "no camera_info", "not calibrated", None, None):
        log.state("camera_info", warning)
        log_clock.now_s += 2 * REPEAT_S
    assert lines.said == [("warning", "no camera_info"), ("warning", "not calibrated"), ("info", "camera_info is fine now")]
