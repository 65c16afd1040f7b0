"""Topics that the user did not name are found by what drivers call them, or asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Writer

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE, IMAGE_TYPE, INFO_TYPE, Bag
from depth_retrofit_ros.evaluation.data.topics import find_image_topic, find_info_topic
from test.evaluation.bags import START_NS, STORE, compressed_message, image_message, info_message
from test.evaluation.mcap_writer import Stream, write_mcap

RGB = np.zeros((4, 6, 3), np.uint8)
COLOR, JPEG = image_message(START_NS, RGB, "rgb8"), compressed_message(START_NS, RGB)
INFRARED = image_message(START_NS, np.ones((4, 6), np.uint16), "mono16")
FLOAT = image_message(START_NS, np.ones((4, 6), np.float32), "32FC1")
DEPTH, INFO = image_message(START_NS, np.ones((4, 6), np.uint16), "16UC1"), info_message(START_NS, 6, 4, 5.0)
TYPES = {data: IMAGE_TYPE for data in (COLOR, COLOR[:30], DEPTH, INFRARED, FLOAT)} | {JPEG: COMPRESSED_TYPE, INFO: INFO_TYPE}


def bag(path: Path, topics: dict[str, bytes]) -> Bag:
    with Writer(path / "bag", version=9) as writer:
        for name, data in topics.items():
            connection = writer.add_connection(name, TYPES[data], typestore=STORE)
            writer.write(connection, START_NS, data)
    return Bag(path / "bag")


@pytest.mark.parametrize(
    ("topics", "found"),
    [
        ({"/cam/image_raw": COLOR, "/cam/depth": DEPTH}, "/cam/image_raw"),
        ({"/cam/image_raw/compressed": JPEG, "/cam/depth": DEPTH, "/cam/depth/compressedDepth": JPEG}, "/cam/image_raw/compressed"),
        ({"/cam/image_raw": COLOR, "/cam/image_raw/compressed": JPEG}, "/cam/image_raw"),
        ({"/cam/image_raw": COLOR, "/cam/depth": DEPTH, "/cam/depth/compressed": JPEG}, "/cam/image_raw"),
        ({"/cam/infra1": INFRARED}, "/cam/infra1"),
        ({"/cam/infra1": INFRARED, "/cam/image_raw": COLOR}, "/cam/image_raw"),
        ({"/cam/infra1": INFRARED, "/cam/aligned_depth": INFRARED}, "/cam/infra1"),
        ({"/cam/image_raw": COLOR[:30], "/cam/depth": DEPTH}, "/cam/image_raw"),
    ],
)
def test_the_only_images(tmp_path: Path, topics: dict[str, bytes], found: str) -> None:
    with bag(tmp_path, topics) as opened:
        assert find_image_topic(opened) == found


@pytest.mark.parametrize(
    ("topics", "told"),
    [
        (
            {"/left/image": COLOR, "/right/image": COLOR},
            r"2 image topics \(/left/image, /right/image\): choose one with",
        ),
        ({"/cam/depth": DEPTH}, r"no image topic, only what may be depth: /cam/depth \(16UC1\); if it shows images, give --image"),
        ({"/cam/depth": FLOAT}, r"no image topic, only depth: /cam/depth \(32FC1\); record the camera's images too"),
        ({"/cam/camera_info": INFO}, r"no image topic; it holds /cam/camera_info \(sensor_msgs/msg/CameraInfo, 1 messages\)"),
    ],
)
def test_none_or_several(tmp_path: Path, topics: dict[str, bytes], told: str) -> None:
    with bag(tmp_path, topics) as opened, pytest.raises(BagError, match=told):
        find_image_topic(opened)


def test_an_image_topic_without_messages(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", [Stream("/cam/image", IMAGE_TYPE, []), Stream("/cam/depth", IMAGE_TYPE, [(0, DEPTH)])])
    with Bag(path) as opened, pytest.raises(BagError, match=r"has no images: its topics /cam/image are empty; record while"):
        find_image_topic(opened)


def test_camera_info_beside_the_images(tmp_path: Path) -> None:
    with bag(tmp_path, {"/cam/camera_info": INFO, "/odd/camera_info": COLOR}) as opened:
        assert find_info_topic(opened, "/cam/image_raw") == "/cam/camera_info"
        assert find_info_topic(opened, "/cam/image_raw/compressed") == "/cam/camera_info"
        assert find_info_topic(opened, "/odd/image") is None  # of another type
        assert find_info_topic(opened, "/other/image") is None
