"""The player keeps the recorded pace, in a thread that ends."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE
from depth_retrofit_ros.ros.replay.player import NO_STAMP, Player, TimedMessage
from test.ros.graph import Graph, image_message, wait_until

TOPIC = "/camera/image_raw"


def messages(count: int, period_s: float) -> Iterator[TimedMessage]:
    for number in range(count):
        yield TimedMessage(number * period_s, TOPIC, bytes(serialize_message(image_message(stamp_s=number))))


@pytest.fixture
def player(graph: Graph) -> Iterator[Player]:
    player = Player(graph.client, {TOPIC: IMAGE_TYPE}, TOPIC, rate=2.0)
    yield player
    player.stop()


def test_it_publishes_the_bytes_at_the_recorded_pace(graph: Graph, player: Player) -> None:
    received = graph.listen(Image, TOPIC)
    wait_until(lambda: player.subscribers() == 1, "a subscriber")
    player.start(messages(5, period_s=0.1))
    assert player.join(10)
    wait_until(lambda: len(received) == 5, "all images")
    assert [message.header.stamp.sec for message in received] == [0, 1, 2, 3, 4]
    assert received[3].data == image_message(stamp_s=3).data
    playback = player.playback
    assert playback.played == 5 and len(playback.late_s) == 5
    times_s = 1e-9 * np.array([image.at_ns for image in playback.images])
    due_s = times_s[0] + 0.05 * np.arange(5)  # twice as fast as recorded
    assert (times_s > due_s - 0.01).all()  # never early; how late depends on the machine
    assert [image.stamp_ns for image in playback.images] == [1_000_000_000 * number + 250_000_000 for number in range(5)]


def test_images_that_share_a_stamp_and_such_as_are_none_are_counted(graph: Graph, player: Player) -> None:
    received = graph.listen(Image, TOPIC)
    wait_until(lambda: player.subscribers() == 1, "a subscriber")
    first, second, third, last = messages(4, period_s=0.01)
    player.start([first, dataclasses.replace(second, data=first.data), dataclasses.replace(third, data=third.data[:40]), last])
    assert player.join(10)
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
        player.join(10)
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
