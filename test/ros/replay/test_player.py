"""The player keeps the recorded pace, in a thread that ends."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE
from depth_retrofit_ros.ros.replay import player as player_module
from depth_retrofit_ros.ros.replay.player import NO_STAMP, Playback, Player, TimedMessage
from test.ros.graph import PATIENCE_S, Graph, image_message, wait_until

TOPIC = "/camera/image_raw"


def messages(count: int, period_s: float) -> Iterator[TimedMessage]:
    for number in range(count):
        yield TimedMessage(number * period_s, TOPIC, bytes(serialize_message(image_message(stamp_s=number))))


@pytest.fixture
def player(graph: Graph) -> Iterator[Player]:
    player = Player(graph.client, {TOPIC: IMAGE_TYPE}, TOPIC, rate=2.0)
    yield player
    player.stop()


def test_it_publishes_the_bytes_in_order(graph: Graph, player: Player) -> None:
    received = graph.listen(Image, TOPIC)
    wait_until(lambda: player.subscribers() == 1, "a subscriber")
    player.start(messages(5, period_s=0.1))
    assert player.join(PATIENCE_S)
    wait_until(lambda: len(received) == 5, "all images")
    assert [message.header.stamp.sec for message in received] == [0, 1, 2, 3, 4]
    assert received[3].data == image_message(stamp_s=3).data
    playback = player.playback
    assert playback.played == 5 and len(playback.late_s) == 5
    assert [image.stamp_ns for image in playback.images] == [1_000_000_000 * number + 250_000_000 for number in range(5)]


class Clock(threading.Event):
    """The player's clock and the event that it waits by: waiting takes as long as it is asked to, and no time of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(1e9 * self.now_s)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now_s += timeout
        return self.is_set()


def test_the_pace_is_the_recorded_one_and_a_delay_is_told_and_made_up_for(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(player_module, "time", clock)
    player._stop = clock
    note = player.playback.note

    def note_slowly(data: bytes, msgtype: str) -> bool:
        noted = note(data, msgtype)
        if player.playback.images[-1].stamp_ns == 1_250_000_000:
            clock.now_s += 0.08  # on a machine that is busy at that moment
        return noted

    monkeypatch.setattr(Playback, "note", lambda self, data, msgtype: note_slowly(data, msgtype))
    player.start(messages(5, period_s=0.1))
    assert player.join(PATIENCE_S)
    published_s = [1e-9 * image.at_ns - 100.0 for image in player.playback.images]
    assert published_s == pytest.approx([0.0, 0.05, 0.13, 0.15, 0.2]), "twice as fast as recorded"
    assert player.playback.late_s == pytest.approx([0.0, 0.0, 0.03, 0.0, 0.0], abs=1e-9)


def test_images_that_share_a_stamp_and_such_as_are_none_are_counted(graph: Graph, player: Player) -> None:
    received = graph.listen(Image, TOPIC)
    wait_until(lambda: player.subscribers() == 1, "a subscriber")
    first, second, third, last = messages(4, period_s=0.01)
    player.start([first, dataclasses.replace(second, data=first.data), dataclasses.replace(third, data=third.data[:40]), last])
    assert player.join(PATIENCE_S)
    wait_until(lambda: len(received) == 3, "what is an image")
    playback = player.playback
    assert [image.stamp_ns for image in playback.images] == [250_000_000, 250_000_000, NO_STAMP, 3_250_000_000]
    assert playback.played == 4 and list(playback.unreadable) == [2] and "of 40 bytes is no Image" in playback.last_failure


def test_a_stream_that_breaks_is_told_after_what_came_before(player: Player) -> None:
    def broken() -> Iterator[TimedMessage]:
        yield from messages(2, period_s=0.01)
        raise BagError("the bag ends here")

    player.start(broken())
    with pytest.raises(BagError, match="the bag ends here"):
        player.join(PATIENCE_S)
    assert player.playback.played == 2


def test_reading_runs_ahead_but_not_away(player: Player) -> None:
    read: list[int] = []

    def counted() -> Iterator[TimedMessage]:
        for message in messages(100, period_s=60.0):
            read.append(1)
            yield message

    player.start(counted())
    wait_until(lambda: len(read) >= 9, "the read-ahead to fill")
    time.sleep(0.1)
    assert len(read) <= 11  # 8 wait, one is at the publisher, one in each hand
    assert player.playback.played == 1


def test_stop_ends_it_in_the_middle_and_leaves_no_thread(player: Player) -> None:
    player.start(messages(100, period_s=60.0))
    assert not player.join(0.05)
    player.stop()
    assert player.join(0)
    assert not {"player", "read-ahead"} & {thread.name for thread in threading.enumerate()}
