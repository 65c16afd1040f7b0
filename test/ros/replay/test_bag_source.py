"""A bag gives images in order, each with its camera and the reference that was taken at its time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import Bag, BagMessage
from depth_retrofit_ros.ros.replay.bag_source import NO_TOPIC, BagSource
from test.evaluation.bags import PERIOD_NS, START_NS, image_message, scene, write_bag

STAMPS = [START_NS + i * PERIOD_NS for i in range(4)]
DEPTH = "/camera/depth"


def test_topics_are_found(tmp_path: Path) -> None:
    source = BagSource(write_bag(tmp_path / "bag", "mcap"))
    assert (source.image_topic, source.info_topic, source.reference) == ("/camera/image", "/camera/camera_info", None)
    assert "/camera/image" in source.described and "/camera/camera_info" in source.described
    without = BagSource(tmp_path / "bag", info_topic=NO_TOPIC)
    assert without.info_topic is None and list(without.types) == ["/camera/image"]
    assert {message.topic for message in without.stream()} == {"/camera/image"}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("late_ms", [0, 12, -12])
def test_each_image_with_the_reference_near_its_stamp(tmp_path: Path, storage: str, late_ms: int) -> None:
    bag = write_bag(tmp_path / "bag", storage, depth_late_ns=late_ms * 1_000_000)
    pairs = list(BagSource(bag, depth_topic=DEPTH).pairs(STAMPS))
    assert [pair.frame.stamp_ns for pair in pairs] == STAMPS
    for number, pair in enumerate(pairs):
        assert pair.reference is not None and pair.reference_stamp_ns == STAMPS[number] + late_ms * 1_000_000
        np.testing.assert_allclose(pair.reference, scene(number, 48, 64)[1], atol=5e-4)
        np.testing.assert_array_equal(pair.frame.image, scene(number, 48, 64)[0])
        assert pair.frame.camera is not None and pair.frame.camera.fx == 60.0


def test_beyond_the_tolerance_there_is_none(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", depth_late_ns=30_000_000)
    assert [pair.reference for pair in BagSource(bag, depth_topic=DEPTH).pairs(STAMPS)] == [None] * 4
    wide = list(BagSource(bag, depth_topic=DEPTH, tolerance_s=0.031).pairs(STAMPS[1:3]))
    assert [pair.reference_stamp_ns for pair in wide] == [stamp + 30_000_000 for stamp in STAMPS[1:3]]


def test_only_the_first_images(tmp_path: Path) -> None:
    source = BagSource(write_bag(tmp_path / "bag", "mcap"), limit=2)
    assert [message.topic for message in source.stream()].count("/camera/image") == 2
    assert "the first 2 images" in source.described


def test_camera_info_comes_before_the_first_image(tmp_path: Path) -> None:
    source = BagSource(write_bag(tmp_path / "bag", "mcap", info_last=True))
    messages = list(source.stream())
    assert [message.topic for message in messages[:3]] == ["/camera/camera_info", "/camera/image", "/camera/camera_info"]
    assert all(frame.camera is not None for frame in source.frames(STAMPS))


def test_another_optical_frame_is_told(tmp_path: Path) -> None:
    same = BagSource(write_bag(tmp_path / "same", "mcap"), depth_topic=DEPTH).reference
    assert same == "/camera/depth, nearest stamp within 20 ms"
    other = BagSource(write_bag(tmp_path / "other", "mcap", depth_frame="depth_optical"), depth_topic=DEPTH).reference
    assert other is not None and "its frame_id is 'depth_optical', the images' 'camera_optical': right only if" in other


def test_what_is_no_depth_of_these_images_is_told_before_the_run(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap")
    with pytest.raises(BagError, match=r"^depth encoding 'rgb8' is not known[^\n]*$"):
        BagSource(bag, depth_topic="/camera/image")
    wide = image_message(START_NS, np.ones((48, 96), np.float32), "32FC1")
    with pytest.MonkeyPatch.context() as patch:
        original = Bag.messages

        def messages(self: Bag, topics: Collection[str]) -> Iterator[BagMessage]:
            for message in original(self, topics):
                yield BagMessage(message.topic, message.time_ns, wide) if message.topic == DEPTH else message

        patch.setattr(Bag, "messages", messages)
        with pytest.raises(BagError, match="is 96x48, the image 64x48: give a depth topic aligned to the image"):
            BagSource(bag, depth_topic=DEPTH)


def test_one_reference_may_serve_two_images(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", depth_late_ns=PERIOD_NS // 2)
    pairs = list(BagSource(bag, depth_topic=DEPTH, tolerance_s=0.05).pairs(STAMPS))
    assert [pair.reference_stamp_ns for pair in pairs] == [STAMPS[max(0, i - 1)] + PERIOD_NS // 2 for i in range(4)]
    assert all(pair.reference is not None for pair in pairs)
