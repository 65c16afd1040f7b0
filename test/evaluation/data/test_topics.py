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

RGB = np.zeros((4, 6, 3), np.uint8)
COLOR, JPEG = image_message(START_NS, RGB, "rgb8"), compressed_message(START_NS, RGB)
DEPTH, INFO = image_message(START_NS, np.ones((4, 6), np.uint16), "16UC1"), info_message(START_NS, 6, 4, 5.0)
TYPES = {COLOR: IMAGE_TYPE, DEPTH: IMAGE_TYPE, JPEG: COMPRESSED_TYPE, INFO: INFO_TYPE}


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
        ({"/cam/depth": DEPTH}, "no image topic: choose"),
    ],
)
def test_none_or_several(tmp_path: Path, topics: dict[str, bytes], told: str) -> None:
    with bag(tmp_path, topics) as opened, pytest.raises(BagError, match=told):
        find_image_topic(opened)


def test_camera_info_beside_the_images(tmp_path: Path) -> None:
    with bag(tmp_path, {"/cam/camera_info": INFO, "/odd/camera_info": COLOR}) as opened:
        assert find_info_topic(opened, "/cam/image_raw") == "/cam/camera_info"
        assert find_info_topic(opened, "/cam/image_raw/compressed") == "/cam/camera_info"
        assert find_info_topic(opened, "/odd/image") is None  # of another type
        assert find_info_topic(opened, "/other/image") is None
