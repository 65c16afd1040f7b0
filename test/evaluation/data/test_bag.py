"""Bags are read from either storage, and whatever is wrong with them is told in one line: see also the tests of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    INFO_TYPE,
    Bag,
    BagMessage,
    header_stamp_ns,
    with_stamp,
)
from depth_retrofit_ros.evaluation.data.mcap import McapFile
from depth_retrofit_ros.evaluation.data.storage import Record
from test.evaluation.bags import PERIOD_NS, START_NS, image_message, scene, write_bag
from test.evaluation.mcap_writer import Stream, write_mcap

STORAGES = ("mcap", "sqlite3")


@pytest.mark.parametrize("storage", STORAGES)
def test_reads_topics_and_messages_in_order(tmp_path: Path, storage: str) -> None:
    with Bag(write_bag(tmp_path / "bag", storage)) as bag:
        assert {name: entry.count for name, entry in bag.topics.items()} == {
            "/camera/image": 4,
            "/camera/camera_info": 4,
            "/camera/depth": 4,
        }
        assert bag.duration_s == pytest.approx(0.3, abs=1e-6)
        messages = list(bag.messages(["/camera/image", "/camera/camera_info"]))
    assert [m.time_ns for m in messages] == sorted(m.time_ns for m in messages)
    images = [m for m in messages if m.topic == "/camera/image"]
    assert [m.stamp_ns for m in images] == [START_NS + i * PERIOD_NS for i in range(4)]
    assert len(messages) == 8


def recordings(folder: Path, times: list[list[int]]) -> Path:
    """A folder with a file for each of ``times`` [ns], all of one topic."""
    folder.mkdir()
    for number, some in enumerate(times):
        messages = [(time_ns, b"\0\1" + bytes([time_ns])) for time_ns in some]
        write_mcap(folder / f"bag_{number}.mcap", [Stream("/image", IMAGE_TYPE, messages)], chunk=1)
    return folder


def test_files_that_overlap_in_time_are_merged(tmp_path: Path) -> None:
    times = [[3, 9, 12], [1, 4, 9, 11], [2, 20], [30, 31]]
    with Bag(recordings(tmp_path / "bag", times)) as bag:
        messages = list(bag.messages(["/image"]))
    assert [m.time_ns for m in messages] == [1, 2, 3, 4, 9, 9, 11, 12, 20, 30, 31]
    assert all(m.data[2] == m.time_ns for m in messages)


def test_a_file_is_begun_when_its_time_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    original = McapFile.messages

    def messages(self: McapFile, wanted: Collection[tuple[str, str]], since_ns: int) -> Iterator[Record]:
        assert self.span_ns is not None
        begun.append(self.span_ns[0])
        yield from original(self, wanted, since_ns)

    monkeypatch.setattr(McapFile, "messages", messages)
    with Bag(recordings(tmp_path / "bag", [[1, 2], [3, 4], [5, 6]])) as bag:
        seen = [(message.time_ns, len(begun)) for message in bag.messages(["/image"])]
    assert seen == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]


def test_no_topics_means_no_messages(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", "mcap")) as bag:
        assert list(bag.messages([])) == []


@pytest.mark.parametrize("storage", STORAGES)
def test_a_single_storage_file_is_a_bag(tmp_path: Path, storage: str) -> None:
    folder = write_bag(tmp_path / "bag", storage)
    (file,) = [p for p in folder.iterdir() if p.suffix in (".mcap", ".db3")]
    with Bag(file) as bag:
        assert bag.topics["/camera/image"].msgtype == IMAGE_TYPE
        assert len(list(bag.messages(["/camera/image"]))) == 4


def test_unknown_topic_lists_the_images(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", "mcap")) as bag, pytest.raises(BagError) as told:
        bag.msgtype("/nope", (IMAGE_TYPE, COMPRESSED_TYPE))
    assert "/nope" in str(told.value) and "/camera/depth, /camera/image" in str(told.value) and "\n" not in str(told.value)


def test_topic_of_another_type_lists_the_fitting_ones(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", "mcap")) as bag, pytest.raises(BagError, match="/camera/camera_info") as told:
        bag.msgtype("/camera/image", (INFO_TYPE,))
    assert "sensor_msgs/msg/Image, not CameraInfo" in str(told.value)


def test_missing_bag(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no bag at"), Bag(tmp_path / "absent"):
        pass


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.95])
def test_truncated_bag_is_read_to_the_cut_or_one_line(tmp_path: Path, storage: str, keep: float) -> None:
    folder = write_bag(tmp_path / "bag", storage, frames=8)
    (file,) = [p for p in folder.iterdir() if p.suffix in (".mcap", ".db3")]
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    try:
        with Bag(folder) as bag:
            count = len(list(bag.messages(list(bag.topics))))
            (told,) = bag.problems
    except BagError as error:
        count, told = 0, str(error)
    assert count < 24 and (count > 0 or keep <= 0.1) and "\n" not in told


def test_the_first_sound_message(tmp_path: Path) -> None:
    def second(message: BagMessage) -> int:
        if message.stamp_ns == START_NS:
            raise BagError("the first is broken")
        return message.stamp_ns

    def none(message: BagMessage) -> int:
        raise BagError("all are broken")

    with Bag(write_bag(tmp_path / "bag", "mcap")) as bag:
        assert bag.first("/camera/image", second) == START_NS + PERIOD_NS
        assert bag.first("/nope", second) is None
        with pytest.raises(BagError, match="all are broken"):
            bag.first("/camera/image", none)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    storage = data.draw(st.sampled_from(STORAGES))
    folder = write_bag(tmp_path_factory.mktemp("fuzz") / "bag", storage, frames=2, height=8, width=8)
    (file,) = [p for p in folder.iterdir() if p.suffix in (".mcap", ".db3")]
    raw = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(raw)
    try:
        with Bag(folder) as bag:
            for entry in bag.messages(list(bag.topics)):
                assert isinstance(entry.data, bytes)
    except BagError as error:
        assert "\n" not in str(error)


def test_stamp_can_be_read_and_replaced() -> None:
    rgb, _ = scene(0, 4, 4)
    raw = image_message(START_NS + 123, rgb, "rgb8")
    moved = with_stamp(raw, 5_000_000_007)
    assert header_stamp_ns(raw) == START_NS + 123
    assert header_stamp_ns(moved) == 5_000_000_007
    assert moved[12:] == raw[12:] and len(moved) == len(raw)
    with pytest.raises(BagError, match="cannot hold a header"):
        header_stamp_ns(raw[:11])


def test_d435_bag(shared_data: Path) -> None:
    with Bag(shared_data / "bags" / "d435_tabletop") as bag:
        assert bag.msgtype("/camera/color/image_raw/compressed", (IMAGE_TYPE, COMPRESSED_TYPE)) == COMPRESSED_TYPE
        assert bag.topics["/camera/aligned_depth_to_color/image_raw"].count == 8 and bag.problems == []
