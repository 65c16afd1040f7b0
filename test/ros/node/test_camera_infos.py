"""Each image gets the camera_info of its time; where there is none, that is told."""

from __future__ import annotations

import threading

import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from depth_retrofit_ros.ros.node import camera_infos
from depth_retrofit_ros.ros.node.camera_infos import MOST_BYTES, REMEMBERED, TOO_FAR, CameraInfos
from test.waiting import PATIENCE_S

SECOND = 1_000_000_000
MS = SECOND // 1000
START = 100 * SECOND


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_infos, "LATE_S", 0.0)


def header(stamp_ns: int, frame_id: str = "camera") -> Header:
    result = Header(frame_id=frame_id)
    result.stamp.sec, result.stamp.nanosec = divmod(stamp_ns, SECOND)
    return result


def info(stamp_ns: int, focal: float = 1.0, frame_id: str = "camera") -> CameraInfo:
    return CameraInfo(header=header(stamp_ns, frame_id), k=[float(focal), 0.0, 0.0, 0.0, float(focal), 0.0, 0.0, 0.0, 1.0])


def infos(*stamps_ns: int) -> CameraInfos:
    """Whose focal lengths are 1, 2, … in the order in which they come."""
    result = CameraInfos()
    for number, stamp_ns in enumerate(stamps_ns, start=1):
        result.offer(info(stamp_ns, number))
    return result


def test_without_any_there_is_none() -> None:
    assert CameraInfos().of(header(START)) == camera_infos.MatchedInfo()


@pytest.mark.parametrize(
    ("at_ns", "focal", "by", "apart_s"),
    [
        (START + 33 * MS, 2, "stamp", 0.0),
        (START + 45 * MS, 2, "nearest", 0.012),
        (START + 55 * MS, 3, "nearest", 0.011),
        (START + 166 * MS, 3, "nearest", 0.1),
        (START + 400 * MS, 3, "newest", 0.334),
        (START - 400 * MS, 3, "newest", 0.466),
    ],
)
def test_that_of_the_stamp_then_the_nearest_then_the_newest(at_ns: int, focal: int, by: str, apart_s: float) -> None:
    found = infos(START, START + 33 * MS, START + 66 * MS).of(header(at_ns))
    assert found.info is not None
    assert (found.info.k[0], str(found.by)) == (focal, by) and found.apart_s == pytest.approx(apart_s)
    assert found.stamp_problem == (TOO_FAR if by == "newest" else None) and found.frame_problem is None


def test_the_newest_is_the_last_that_came_whatever_its_stamp() -> None:
    """A recording that begins again."""
    found = infos(START + 9 * SECOND, START).of(header(START + SECOND))
    assert found.info is not None and (found.info.k[0], found.by) == (2, "newest")


def test_of_one_stamp_the_last_that_came_counts() -> None:
    found = infos(START, START).of(header(START))
    assert found.info is not None and found.info.k[0] == 2


def test_a_calibration_without_a_stamp_holds_for_every_image() -> None:
    """As drivers and simulations publish it that say it once."""
    found = infos(0).of(header(START))
    assert found.info is not None and (found.by, found.apart_s, found.stamp_problem) == ("no stamp", 0.0, None)
    stamped_after = infos(0, START).of(header(START + MS))
    assert stamped_after.info is not None and (stamped_after.info.k[0], stamped_after.by) == (2, "nearest")


def test_another_frame_is_told_with_both_names() -> None:
    found = CameraInfos()
    found.offer(info(START, frame_id="left\nx"))
    problem = found.of(header(START, "right")).frame_problem
    assert problem is not None and "'left\\nx'" in problem and "'right'" in problem and "\n" not in problem
    assert found.of(header(START, "left\nx")).frame_problem is None
    found.offer(info(START, frame_id=""))
    assert found.of(header(START, "right")).frame_problem is None, "one that nobody filled in"


def test_memory_is_bounded_whatever_the_stamps() -> None:
    found = infos(*(START + number * (SECOND if number % 2 else -SECOND) for number in range(3 * REMEMBERED)))
    assert len(found) == REMEMBERED
    assert found.newest is not None and found.newest.k[0] == 3 * REMEMBERED


def test_the_camera_info_of_an_image_that_comes_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the worker's thread, where the image before had one of its stamp."""
    found = infos(START)
    assert found.of(header(START)).by == "stamp"
    monkeypatch.setattr(camera_infos, "LATE_S", PATIENCE_S)
    answers, begun = [], threading.Event()

    def work() -> None:
        begun.set()
        answers.append(found.of(header(START + 33 * MS)))

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(PATIENCE_S)
    found.offer(info(START + 33 * MS, 7.0))
    worker.join(PATIENCE_S / 2)
    assert [(answer.by, answer.info.k[0]) for answer in answers] == [("stamp", 7.0)]  # type: ignore[union-attr]


def test_nothing_is_waited_for_that_never_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_infos, "LATE_S", float("inf"))
    found = infos(START)
    assert [found.of(header(START + ms * MS)).by for ms in (10, 20)] == ["nearest", "nearest"], "no image had its own so far"
    assert found.of(header(START)).by == "stamp"
    assert found.of(header(START - MS)).by == "nearest", "later ones are there"


def test_what_one_thread_offers_another_finds() -> None:
    found = infos(START)
    problems: list[str] = []

    def look() -> None:
        for number in range(2000):
            answer = found.of(header(START + number * MS))
            if answer.info is None or (answer.by == "stamp" and answer.info.header.stamp.nanosec != number % 1000 * MS):
                problems.append(f"{number}: {answer}")

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(2000):
        found.offer(info(START + number * MS))
    for reader in readers:
        reader.join(PATIENCE_S)
    assert not problems


def test_after_a_jump_back_the_camera_info_of_an_image_that_comes_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that begins again: all that is there is of its end."""
    found = infos(START + 60 * SECOND)
    assert found.of(header(START + 60 * SECOND)).by == "stamp"
    monkeypatch.setattr(camera_infos, "LATE_S", PATIENCE_S)
    late = threading.Timer(0.0, lambda: found.offer(info(START, 7.0)))
    late.start()
    answer = found.of(header(START))
    late.join()
    assert (answer.by, answer.stamp_problem) == ("stamp", None)


def test_memory_is_bounded_whatever_their_coefficients() -> None:
    found = CameraInfos()
    for number in range(20):
        huge = info(START + number * MS, number)
        huge.d = [0.0] * (MOST_BYTES // 32)
        found.offer(huge)
        assert len(found) <= 4 and found.newest is huge
    huge = info(START, 99)
    huge.d = [0.0] * MOST_BYTES
    found.offer(huge)
    assert len(found) == 1 and found.of(header(START)).info is huge
    for number in range(8):
        found.offer(info(START + number * MS, number))
    assert len(found) == 8, "what was huge is no longer counted"
