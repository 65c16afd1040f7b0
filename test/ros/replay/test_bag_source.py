"""A bag gives images in order, each with its camera and the reference that was taken at its time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE, INFO_TYPE, Bag, BagMessage, with_stamp
from depth_retrofit_ros.lens import Rectification
from depth_retrofit_ros.ros.replay.bag_source import NO_TOPIC, BagSource
from test.evaluation.bags import PERIOD_NS, START_NS, image_message, info_message, scene, write_bag
from test.evaluation.mcap_writer import Stream, write_mcap

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
    pairs = list(BagSource(bag, depth_topic=DEPTH).pairs(range(4)))
    assert [pair.frame.stamp_ns for pair in pairs] == STAMPS
    for number, pair in enumerate(pairs):
        assert pair.reference is not None and pair.reference_stamp_ns == STAMPS[number] + late_ms * 1_000_000
        np.testing.assert_allclose(pair.reference, scene(number, 48, 64)[1], atol=5e-4)
        np.testing.assert_array_equal(pair.frame.image, scene(number, 48, 64)[0])
        assert pair.frame.camera is not None and pair.frame.camera.fx == 60.0


def test_beyond_the_tolerance_there_is_none(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", depth_late_ns=30_000_000)
    source = BagSource(bag, depth_topic=DEPTH)
    assert [pair.reference for pair in source.pairs(range(4))] == [None] * 4
    (told,) = source.remarks
    assert told.startswith("4 of 4 images have no depth on /camera/depth within 20 ms (--tolerance); the nearest is 30 ms away: ")
    assert told.endswith("give --tolerance 0.033")
    wide = list(BagSource(bag, depth_topic=DEPTH, tolerance_s=0.031).pairs([1, 2]))
    assert [pair.reference_stamp_ns for pair in wide] == [stamp + 30_000_000 for stamp in STAMPS[1:3]]


def test_only_the_first_images(tmp_path: Path) -> None:
    source = BagSource(write_bag(tmp_path / "bag", "mcap"), limit=2)
    assert [message.topic for message in source.stream()].count("/camera/image") == 2
    assert "the first 2 images" in source.described


def test_camera_info_comes_before_the_first_image(tmp_path: Path) -> None:
    source = BagSource(write_bag(tmp_path / "bag", "mcap", info_last=True))
    messages = list(source.stream())
    assert [message.topic for message in messages[:3]] == ["/camera/camera_info", "/camera/image", "/camera/camera_info"]
    assert all(frame.camera is not None for _, frame in source.frames(range(4)))


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

        def messages(self: Bag, topics: Collection[str], *since_ns: int) -> Iterator[BagMessage]:
            for message in original(self, topics, *since_ns):
                yield BagMessage(message.topic, message.time_ns, wide) if message.topic == DEPTH else message

        patch.setattr(Bag, "messages", messages)
        with pytest.raises(BagError, match="is 96x48, the image 64x48: give a depth topic aligned to the image"):
            BagSource(bag, depth_topic=DEPTH)


def test_one_reference_may_serve_two_images(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", depth_late_ns=PERIOD_NS // 2)
    pairs = list(BagSource(bag, depth_topic=DEPTH, tolerance_s=0.05).pairs(range(4)))
    assert [pair.reference_stamp_ns for pair in pairs] == [STAMPS[max(0, i - 1)] + PERIOD_NS // 2 for i in range(4)]
    assert all(pair.reference is not None for pair in pairs)


def changed(tmp_path: Path, change: Callable[[str, int, bytes], bytes]) -> Path:
    """A bag whose messages are ``change`` of topic, place among them and data of those of a sound one."""
    messages: dict[str, list[tuple[int, bytes]]] = {}
    with Bag(write_bag(tmp_path / "sound", "mcap")) as bag:
        for message in bag.messages(list(bag.topics)):
            some = messages.setdefault(message.topic, [])
            some.append((message.time_ns, change(message.topic, len(some), message.data)))
        streams = [Stream(topic, bag.topics[topic].msgtype, some) for topic, some in messages.items()]
    return write_mcap(tmp_path / "bag.mcap", streams)


def test_broken_references_and_calibrations_cost_themselves(tmp_path: Path) -> None:
    def broken(topic: str, place: int, data: bytes) -> bytes:
        return data[:50] if place in {DEPTH: (0, 2), "/camera/camera_info": (0, 3)}.get(topic, ()) else data

    source = BagSource(changed(tmp_path, broken), depth_topic=DEPTH)
    assert [message.topic for message in source.stream()].count("/camera/camera_info") == 3  # two sound ones, the first once more
    pairs = list(source.pairs(range(4)))
    assert [pair.reference is None for pair in pairs] == [True, False, True, False]
    assert all(pair.frame.camera is not None for pair in pairs)
    assert [remark.split(" (")[0] for remark in source.remarks] == [
        "some camera_info on /camera/camera_info cannot be read and is left out",
        "2 depth images on /camera/depth are no reference",
    ]


def test_calibrations_of_which_none_can_be_read_cost_no_image(tmp_path: Path) -> None:
    """Found beside the images they are left out; asked for by name they are an error."""

    def broken(topic: str, place: int, data: bytes) -> bytes:
        return data[:50] if topic == "/camera/camera_info" else data

    path = changed(tmp_path, broken)
    source = BagSource(path)
    assert source.info_topic is None and [message.topic for message in source.stream()] == ["/camera/image"] * 4
    assert source.remarks == ["camera_info on /camera/camera_info cannot be read: depth is relative"]
    with pytest.raises(BagError, match="camera_info on /camera/camera_info cannot be read: choose another --info-topic, or none"):
        BagSource(path, info_topic="/camera/camera_info")


def test_calibrations_that_are_promised_and_not_there_cost_no_image(tmp_path: Path) -> None:
    info, rgb = "/camera/camera_info", scene(0, 8, 8)[0]
    images = [(0, image_message(0, rgb, "rgb8"))]
    path = write_mcap(tmp_path / "bag.mcap", [Stream("/camera/image", IMAGE_TYPE, images), Stream(info, INFO_TYPE, [(1, b"\0\1")])])
    with pytest.MonkeyPatch.context() as patch:  # as of a chunk that is lost, whose index is there
        original = Bag.messages
        patch.setattr(
            Bag, "messages", lambda self, topics, *since_ns: original(self, [topic for topic in topics if topic != info], *since_ns)
        )
        source = BagSource(path)
        assert source.info_topic is None and len(list(source.stream())) == 1
        with pytest.raises(BagError, match="has no messages"):
            BagSource(path, info_topic=info)


@pytest.mark.parametrize("stamps", [[0, 0, 0, 0], [START_NS, START_NS, START_NS + PERIOD_NS, START_NS + PERIOD_NS], [0, 7, 7, 9]])
def test_images_that_share_a_stamp_have_the_reference_of_their_own(tmp_path: Path, stamps: list[int]) -> None:
    def stamped(topic: str, place: int, data: bytes) -> bytes:
        return with_stamp(data, stamps[place])

    source = BagSource(changed(tmp_path, stamped), depth_topic=DEPTH)
    for pair in source.pairs(range(4)):
        assert pair.reference is not None and pair.frame.stamp_ns == stamps[pair.number]
        np.testing.assert_array_equal(pair.frame.image, scene(pair.number, 48, 64)[0])
        np.testing.assert_allclose(pair.reference, scene(pair.number, 48, 64)[1], atol=5e-4)
    assert "have the stamp of another one" in source.remarks[0]


def test_a_wrong_clock_is_not_waited_for(tmp_path: Path) -> None:
    rgb = scene(0, 8, 8)[0]
    images = [(time_ns, image_message(time_ns, rgb, "rgb8")) for time_ns in (0, 10**18, 10**18 + 10**9)]
    source = BagSource(write_mcap(tmp_path / "bag.mcap", [Stream("/image", IMAGE_TYPE, images)]))
    assert [message.at_s for message in source.stream()] == [0.0, 30.0, 31.0]
    assert "real time waits no longer" in source.remarks[0]


def test_raw_counts_are_an_image_where_the_user_says_so(tmp_path: Path) -> None:
    counts = np.linspace(0, 65535, 48, dtype=np.uint16).reshape(6, 8)
    images = [(i, image_message(i, counts, "16UC1")) for i in range(2)]
    path = write_mcap(tmp_path / "bag.mcap", [Stream("/thermal", IMAGE_TYPE, images)])
    with pytest.raises(BagError, match=r"no image topic, only what may be depth: /thermal \(16UC1\); .* give --image-topic"):
        BagSource(path)
    source = BagSource(path, image_topic="/thermal")
    ((_, frame), _) = source.frames(range(2))
    assert frame.image.shape == (6, 8, 3) and frame.image.min() == 0 and frame.image.max() == 255
    assert "are taken for mono16" in source.remarks[0]


def test_a_raw_image_is_rectified_with_its_reference_and_neither_where_it_is_not_asked_for(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", frames=1, distortion=(-0.2, 0.05, 0.0, 0.0, 0.0))
    (made,) = BagSource(bag, depth_topic=DEPTH, rectify="true").pairs([0])
    (given,) = BagSource(bag, depth_topic=DEPTH, rectify="auto").pairs([0])  # the topic is called neither raw nor rectified
    rgb, _ = scene(0, 48, 64)
    np.testing.assert_array_equal(given.frame.image, rgb)
    assert isinstance(made.frame.optics, Rectification) and given.frame.optics is None
    np.testing.assert_array_equal(made.frame.image, made.frame.optics.image(rgb))
    assert made.reference is not None and given.reference is not None
    np.testing.assert_array_equal(made.reference, made.frame.optics.depth(given.reference))
    assert (made.reference != given.reference).any() and np.isin(made.reference, given.reference).all()


def test_an_image_has_the_calibration_of_its_stamp_as_in_the_node(tmp_path: Path) -> None:
    """A zoom lens whose camera_info was recorded ahead of its images."""
    with Bag(write_bag(tmp_path / "bag", "mcap")) as bag:
        images = [(m.time_ns, m.data) for m in bag.messages(["/camera/image"])]
    infos = [(START_NS + place, info_message(stamp, 64, 48, 60.0 + place)) for place, stamp in enumerate(STAMPS)]
    streams = [Stream("/camera/camera_info", INFO_TYPE, infos), Stream("/camera/image", IMAGE_TYPE, images)]
    source = BagSource(write_mcap(tmp_path / "ahead.mcap", streams))
    assert [frame.camera and frame.camera.fx for _, frame in source.frames(range(4))] == [60.0, 61.0, 62.0, 63.0]
