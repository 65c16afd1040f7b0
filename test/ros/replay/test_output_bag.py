"""What the node said, as a bag that programs without our messages read."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import Image

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.replay.output_bag import OutputBag, definition, type_name
from test.paths import ROOT
from test.ros.graph import image_message, info_message

STAMP_NS = 100_250_000_000
MSG_FILE = ROOT / "msg" / "FrameStats.msg"


def read(path: Path) -> list[tuple[str, int, Any]]:
    """With nothing but the definitions that are in the bag itself."""
    with AnyReader([path]) as reader:
        return [(c.topic, time_ns, reader.deserialize(data, c.msgtype)) for c, time_ns, data in reader.messages()]


def test_messages_come_back_at_their_stamps_from_their_own_definitions(tmp_path: Path) -> None:
    stats = FrameStats(header=image_message().header, metric=True, model="compact", refined_pixels=7, budget=0.25, received=3)
    info = info_message()
    info.header = image_message().header
    with OutputBag(tmp_path / "bag") as bag:
        bag.write("/d/depth/image_rect", image_message())
        bag.write("/d/depth/camera_info", info)
        bag.write("/d/frame_stats", stats)
    messages = {topic: (time_ns, message) for topic, time_ns, message in read(tmp_path / "bag")}
    assert {time_ns for time_ns, _ in messages.values()} == {STAMP_NS}
    image = messages["/d/depth/image_rect"][1]
    np.testing.assert_array_equal(image.data, np.frombuffer(image_message().data, np.uint8))
    assert image.header.frame_id == "camera_optical"
    np.testing.assert_array_equal(messages["/d/depth/camera_info"][1].k, info.k)
    told = messages["/d/frame_stats"][1]
    assert (told.metric, told.model, told.refined_pixels, told.budget, told.received) == (True, "compact", 7, 0.25, 3)


def test_the_definition_is_that_of_the_msg_file() -> None:
    lines = (line.partition("#")[0].split() for line in MSG_FILE.read_text().splitlines())
    assert [line.split() for line in definition(FrameStats).splitlines()] == [line for line in lines if line]
    assert type_name(FrameStats) == "depth_retrofit_ros/msg/FrameStats" and type_name(Image) == "sensor_msgs/msg/Image"


def test_an_earlier_bag_is_replaced(tmp_path: Path) -> None:
    for stamp_s in (1, 2):
        with OutputBag(tmp_path / "bag") as bag:
            bag.write("/image", image_message(stamp_s=stamp_s))
    assert [time_ns for _, time_ns, _ in read(tmp_path / "bag")] == [2_250_000_000]


def test_somebody_s_recording_is_never_replaced(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP):
        pass
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "bag.mcap").write_text("mine")
    for path in (tmp_path / "bag", tmp_path / "notes"):
        before = sorted(path.iterdir())
        with pytest.raises(OutputError, match="not a bag of an earlier replay: move it away"), OutputBag(path):
            pass
        assert sorted(path.iterdir()) == before


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    told = rf"cannot write .*bag \({os.strerror(errno.ENOSPC)}\): choose"
    with pytest.raises(OutputError, match=told), OutputBag(tmp_path / "bag") as bag:
        bag.write("/image", image_message())
        monkeypatch.setattr(Writer, "write", full)
        bag.write("/image", image_message())
    assert not (tmp_path / "bag").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), OutputBag(tmp_path / "file" / "bag"):
        pass


def test_after_the_end_nothing_is_written(tmp_path: Path) -> None:
    with OutputBag(tmp_path / "bag") as bag:
        pass
    with pytest.raises(ValueError, match="closed"):
        bag.write("/image", image_message())
