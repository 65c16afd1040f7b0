"""A bag is what its files hold, whatever metadata.yaml says of them; compressed files are read, others get a remedy that works."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backports import zstd
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import IMAGE_TYPE, Bag
from test.evaluation.bags import STORE, write_bag
from test.evaluation.mcap_writer import Stream, write_mcap

FRAMES = 4
METADATA = "metadata.yaml"
STORAGES = ("mcap", "sqlite3")


def counts(path: Path) -> dict[str, int]:
    """Of the messages that are really there; nothing may be wrong."""
    with Bag(path) as bag:
        assert bag.problems == []
        for name, entry in bag.topics.items():
            assert len(list(bag.messages([name]))) == entry.count
        return {name: entry.count for name, entry in bag.topics.items()}


ALL = {"/camera/image": FRAMES, "/camera/camera_info": FRAMES, "/camera/depth": FRAMES}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("message_count: 4", "message_count: 400"),
        lambda text: text.replace("message_count: 4", "message_count: 0"),
        lambda text: text.replace("version: 9", "version: 99"),
        lambda text: text.replace("sensor_msgs/msg/Image", "sensor_msgs/msg/Imu"),
        lambda text: text.replace("storage_identifier: ", "storage_identifier: other"),
        lambda text: text.replace("serialization_format: cdr", "serialization_format: json"),
        lambda text: text.replace("topics_with_message_count", "no_topics"),
        lambda text: text[: len(text) // 3],
        lambda text: "",
        lambda text: "{[}: \0",
        None,
    ],
)
def test_what_metadata_says_of_the_content_does_not_matter(tmp_path: Path, storage: str, change: object) -> None:
    metadata = write_bag(tmp_path / "bag", storage, frames=FRAMES) / METADATA
    if change is None:
        metadata.unlink()
    else:
        assert callable(change)
        metadata.write_text(change(metadata.read_text()))
    assert counts(tmp_path / "bag") == ALL


def test_metadata_itself_means_its_folder(tmp_path: Path) -> None:
    assert counts(write_bag(tmp_path / "bag", "mcap", frames=FRAMES) / METADATA) == ALL


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A folder with three files of two messages each, ``bag_8`` to ``bag_10``."""
    folder = tmp_path / "bag"
    folder.mkdir()
    for number in (8, 9, 10):
        messages = [(100 * number + i, b"\0\1" + bytes([number, i])) for i in range(2)]
        write_mcap(folder / f"bag_{number}.mcap", [Stream("/a", IMAGE_TYPE, messages)])
    names = "".join(f"  - bag/bag_{number}.mcap\n" for number in (8, 9, 10))  # with the folder in front, as version 3 had it
    (folder / METADATA).write_text(
        f"rosbag2_bagfile_information:\n  version: 3\n  relative_file_paths:\n{names}  message_count: 6\n"
    )
    return folder


def test_several_files_are_one_bag(split: Path) -> None:
    assert counts(split) == {"/a": 6}
    (split / METADATA).unlink()
    with Bag(split) as bag:
        times = [message.time_ns for message in bag.messages(["/a"])]
    assert times == sorted(times) and len(times) == 6


def test_a_missing_file_is_told_and_the_others_are_read(split: Path) -> None:
    (split / "bag_9.mcap").unlink()
    with Bag(split) as bag:
        assert [message.time_ns for message in bag.messages(["/a"])] == [800, 801, 1000, 1001]
        assert bag.problems == ["bag: bag_9.mcap of metadata.yaml is missing, the others are read"]


def test_a_damaged_file_is_told_and_the_others_are_read(split: Path) -> None:
    (split / "bag_9.mcap").write_bytes(b"")
    with Bag(split) as bag:
        assert len(list(bag.messages(["/a"]))) == 4
        (problem,) = bag.problems
    assert "bag_9.mcap" in problem and "it is empty" in problem


def test_a_file_that_is_not_listed_is_told(split: Path) -> None:
    text = (split / METADATA).read_text()
    (split / METADATA).write_text(text.replace("  - bag/bag_10.mcap\n", ""))
    with Bag(split) as bag:
        assert bag.topics["/a"].count == 4
        assert bag.problems == [
            "bag: bag_10.mcap is not in metadata.yaml and not read: give it by its name, or remove metadata.yaml"
        ]


def test_files_that_were_renamed_are_read(split: Path) -> None:
    for file in split.glob("*.mcap"):
        file.rename(file.with_name(f"my_{file.name}"))
    with Bag(split) as bag:
        assert bag.topics["/a"].count == 6
        assert len(bag.problems) == 1


def test_none_of_the_files_is_there(split: Path) -> None:
    for file in split.glob("*.mcap"):
        file.unlink()
    with pytest.raises(BagError, match=r"^[^\n]*has none of the files of its metadata\.yaml \(bag_8\.mcap, [^\n]*$"), Bag(split):
        pass


def test_a_folder_without_any(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"holds no \.mcap or \.db3 file"), Bag(tmp_path):
        pass


@pytest.mark.parametrize(("name", "content"), [("a.mcap", b""), ("notes.txt", b"hello"), ("a.db3", b"\x89PNG\r\n\x1a\n")])
def test_a_file_that_is_none(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError, match=r"^cannot read the bag [^\n]*: it (is empty|begins neither)[^\n]*$"), Bag(tmp_path / name):
        pass


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
def test_compressed_bags(tmp_path: Path, storage: str, mode: CompressionMode) -> None:
    if (storage, mode) == ("sqlite3", CompressionMode.STORAGE):
        pytest.skip("SQLite has no compression of its own")
    with Bag(write_bag(tmp_path / "plain", storage, frames=FRAMES)) as bag:
        messages = [(m.topic, m.time_ns, m.data) for m in bag.messages(["/camera/image", "/camera/depth"])]
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topics = {topic: writer.add_connection(topic, IMAGE_TYPE, typestore=STORE) for topic in ("/camera/image", "/camera/depth")}
        for topic, time_ns, data in messages:
            writer.write(topics[topic], time_ns, data)
    (file,) = [path for path in (tmp_path / "bag").iterdir() if path.name != METADATA]
    assert (mode == CompressionMode.FILE) == (file.suffix == ".zstd")
    for path in (tmp_path / "bag", file):
        with Bag(path) as bag:
            assert [(m.topic, m.time_ns, m.data) for m in bag.messages(list(topics))] == messages
            assert bag.problems == []


@pytest.mark.parametrize("storage", STORAGES)
def test_of_a_compressed_file_that_was_cut_the_beginning_is_read(tmp_path: Path, storage: str) -> None:
    folder = write_bag(tmp_path / "bag", storage, frames=60)
    (file,) = [path for path in folder.iterdir() if path.name != METADATA]
    packed = zstd.compress(file.read_bytes())
    (tmp_path / f"cut{file.suffix}.zstd").write_bytes(packed[: len(packed) * 2 // 3])
    with Bag(tmp_path / f"cut{file.suffix}.zstd") as bag:
        assert 0 < len(list(bag.messages(["/camera/image"]))) < 60
        assert "could be decompressed in part only (zstd data ends early)" in bag.problems[0] and len(bag.problems) == 2


def test_a_file_that_was_unpacked_since(tmp_path: Path) -> None:
    metadata = write_bag(tmp_path / "bag", "mcap", frames=FRAMES) / METADATA
    metadata.write_text(metadata.read_text().replace("- bag.mcap", "- bag.mcap.zstd"))
    assert counts(tmp_path / "bag") == ALL


def test_the_remedy_for_a_ros_1_bag_works(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    header = store.types["std_msgs/msg/Header"](
        seq=0, stamp=store.types["builtin_interfaces/msg/Time"](sec=7, nanosec=0), frame_id="c"
    )

    pixels = np.zeros(12, np.uint8)
    image = store.types[IMAGE_TYPE](header=header, height=2, width=2, encoding="rgb8", is_bigendian=0, step=6, data=pixels)
    path = tmp_path / "old one.bag"
    with Writer1(path) as writer:
        connection = writer.add_connection("/image", IMAGE_TYPE, typestore=store)
        writer.write(connection, 5, store.serialize_ros1(image, IMAGE_TYPE))
    with pytest.raises(BagError, match=r"is a ROS 1 bag; convert it with: [^\n]*$") as told, Bag(path):
        pass
    program, *arguments = shlex.split(str(told.value).split("convert it with: ")[1])
    subprocess.run([Path(sys.executable).parent / program, *arguments], check=True, timeout=60)
    with Bag(tmp_path / "old one") as bag:
        assert bag.topics["/image"].msgtype == IMAGE_TYPE
        assert [message.stamp_ns for message in bag.messages(["/image"])] == [7_000_000_000]
    shutil.rmtree(tmp_path / "old one")
    with pytest.raises(BagError, match=r"holds no rosbag2 but old one\.bag, a ROS 1 bag"), Bag(tmp_path):
        pass
