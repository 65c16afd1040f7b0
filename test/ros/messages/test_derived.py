"""Disparity, scan and compressed images as they are serialized: what ROS and rosbags read of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, LaserScan
from std_msgs.msg import Header
from stereo_msgs.msg import DisparityImage

from depth_retrofit_ros.errors import GraphError, OutputError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE
from depth_retrofit_ros.evaluation.data.depth_messages import depth_image
from depth_retrofit_ros.io.compressed_depth import DEPTH_CODECS, InverseDepth, capacity, encode, fill_inverse_depth
from depth_retrofit_ros.io.disparity_image import disparity_range, fill_disparity
from depth_retrofit_ros.ros.messages.compressed import CompressedMessage
from depth_retrofit_ros.ros.messages.disparity import DisparityMessage, disparity_type
from depth_retrofit_ros.ros.messages.scan import ScanMessage, scan_frame
from depth_retrofit_ros.runtime.laser_scan import ScanAngles

NAMES = ("", "a", "camera_color_optical_frame", "x" * 700, "ä")


def header(frame_id: str) -> Header:
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = 7, 9
    return made


def test_a_compressed_image_is_what_ros_reads_whatever_its_size() -> None:
    message = CompressedMessage()
    for round_, frame_id in enumerate((*NAMES, *NAMES[::-1])):
        data = np.random.default_rng(round_).integers(0, 256, 40 + 17 * round_ % 5, dtype=np.uint8)
        room = message.prepare(200, header(frame_id), "32FC1; compressedDepth rvl")
        assert room.ctypes.data % 64 == 0
        room[: data.size] = data
        read = deserialize_message(message.finish(data.size).tobytes(), CompressedImage)
        assert read.header == header(frame_id) and read.format == "32FC1; compressedDepth rvl"
        assert bytes(read.data) == data.tobytes()


@pytest.mark.parametrize("codec", DEPTH_CODECS)
def test_rosbags_stores_compressed_depth_and_our_reader_finds_the_depth(codec: str, tmp_path: Path) -> None:
    depth, form = np.random.default_rng(0).uniform(0.5, 20, (20, 30)).astype(np.float32), InverseDepth.of(100.0, 100.0)
    depth[3, 4] = np.nan
    values, message = np.empty((20, 30), np.uint16), CompressedMessage()
    fill_inverse_depth(depth, form, values)
    room = message.prepare(capacity(20, 30, codec), header("a"), f"32FC1; compressedDepth {codec}")
    raw = message.finish(encode(values, form, codec, room)).tobytes()
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/d/compressedDepth", COMPRESSED_TYPE, typestore=store)
        writer.write(connection, 5, raw)
    with AnyReader([tmp_path / "bag"], default_typestore=store) as reader:
        ((connection, _, data),) = reader.messages()
        read: Any = reader.deserialize(data, connection.msgtype)
    assert read.format == f"32FC1; compressedDepth {codec}"
    found = depth_image(bytes(data), COMPRESSED_TYPE)
    assert np.isnan(found[3, 4]) and np.isnan(found).sum() == 1
    np.testing.assert_allclose(np.nan_to_num(found), np.nan_to_num(depth), rtol=1.1e-3)


def test_a_disparity_image_is_what_ros_reads_and_gives_the_depth_back() -> None:
    message = DisparityMessage()
    for frame_id in NAMES:
        depth = np.random.default_rng(0).uniform(0.5, 20, (5, 7)).astype(np.float32)
        depth[1, 1:4] = np.nan, 0.0, np.inf
        values = message.prepare(5, 7, header(frame_id))
        fill_disparity(depth, 400.0 * 0.12, values)
        read = deserialize_message(message.finish(400.0, 0.12, disparity_range(values)).tobytes(), DisparityImage)
        assert read.header == read.image.header == header(frame_id)
        assert (read.image.encoding, read.image.height, read.image.width, read.image.step) == ("32FC1", 5, 7, 28)
        assert (read.f, read.t) == (400.0, np.float32(0.12))
        window = read.valid_window
        assert (window.x_offset, window.y_offset, window.height, window.width, window.do_rectify) == (0, 0, 5, 7, False)
        found = np.frombuffer(read.image.data, np.float32).reshape(5, 7)
        valid = found >= read.min_disparity
        np.testing.assert_array_equal(valid, np.isfinite(depth) & (depth > 0))
        np.testing.assert_allclose(read.f * read.t / found[valid], depth[valid], rtol=1e-6)
        assert (read.min_disparity, read.max_disparity) == (found[valid].min(), found[valid].max())
        assert 0 < read.delta_d < 1e-4


def test_an_unknown_frame_has_no_valid_disparity() -> None:
    message = DisparityMessage()
    values = message.prepare(2, 2, header("a"))
    fill_disparity(np.full((2, 2), np.nan, np.float32), 1.0, values)
    read = deserialize_message(message.finish(1.0, 1.0, disparity_range(values)).tobytes(), DisparityImage)
    assert (np.frombuffer(read.image.data, np.float32) < read.min_disparity).all() and read.min_disparity == read.max_disparity


def test_a_scan_is_what_ros_reads() -> None:
    message, angles = ScanMessage(), ScanAngles(-0.5, 0.6, 0.1)
    for frame_id in NAMES:
        ranges = message.prepare(12, header("other"), frame_id, angles, 0.3, 9.0)
        ranges[:] = np.r_[np.arange(10), np.inf, np.nan]
        read = deserialize_message(message.serialized.tobytes(), LaserScan)
        assert read.header == header(frame_id)
        told = read.angle_min, read.angle_max, read.angle_increment, read.range_min, read.range_max
        np.testing.assert_array_equal(told, np.array([-0.5, 0.6, 0.1, 0.3, 9.0], np.float32))
        assert (read.time_increment, read.scan_time, len(read.intensities)) == (0, 0, 0)
        np.testing.assert_array_equal(np.asarray(read.ranges), ranges)


def test_a_scan_is_never_in_an_optical_frame() -> None:
    assert scan_frame("", "camera_color_optical_frame") == "camera_color_frame"
    assert scan_frame("laser", "camera_color_optical_frame") == "laser"
    with pytest.raises(OutputError, match="set scan_frame"):
        scan_frame("", "camera")


def test_where_stereo_msgs_is_missing_one_line_says_what_to_install() -> None:
    assert disparity_type() is DisparityImage
    with (
        mock.patch.dict(sys.modules, {"stereo_msgs.msg": None}),
        pytest.raises(GraphError, match="pip install ros-stereo-msgs") as told,
    ):
        disparity_type()
    assert "\n" not in str(told.value)
