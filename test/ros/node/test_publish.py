"""The outgoing messages' memory: allocated once, written in place, sent as it is."""

from __future__ import annotations

import array
import tracemalloc

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.ros.node.outputs import CloudMessage, ImageMessage


def test_an_image_is_written_in_place_and_travels_bit_for_bit() -> None:
    depth = ImageMessage("32FC1", np.float32, 1)
    values = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    values[3, 5] = np.nan
    pixels = depth.prepare(30, 40, Header(frame_id="a"))
    np.copyto(pixels, values)
    arrived = deserialize_message(serialize_message(depth.message), Image)
    assert (arrived.height, arrived.width, arrived.step, arrived.encoding, arrived.header.frame_id) == (30, 40, 160, "32FC1", "a")
    np.testing.assert_array_equal(np.frombuffer(arrived.data, np.float32).reshape(30, 40), values)


def test_memory_is_reused_until_the_size_changes() -> None:
    preview = ImageMessage("rgb8", np.uint8, 3)
    first = preview.prepare(30, 40, Header())
    again = preview.prepare(30, 40, Header(frame_id="b"))
    assert np.shares_memory(first, again)
    assert preview.message.header.frame_id == "b"
    assert preview.prepare(31, 40, Header()).shape == (31, 40, 3)
    assert len(preview.message.data) == 31 * 40 * 3


def test_a_cloud_is_written_in_place_and_travels_bit_for_bit() -> None:
    cloud = CloudMessage()
    points = cloud.prepare(7, 9, Header())
    points.view(np.uint32)[:] = np.random.default_rng(0).integers(0, 2**32, points.shape, dtype=np.uint32)
    arrived = deserialize_message(serialize_message(cloud.message), PointCloud2)
    assert (arrived.height, arrived.width, arrived.point_step, arrived.row_step) == (7, 9, 16, 144)
    np.testing.assert_array_equal(np.frombuffer(arrived.data, np.uint32).reshape(7, 9, 4), points.view(np.uint32))


def test_filling_is_one_copy_into_the_memory_that_is_sent() -> None:
    """Any of the slow ways to fill a message, 10 to 1000 times slower, needs other memory: a list, bytes, or a second array."""
    depth, cloud = ImageMessage("32FC1", np.float32, 1), CloudMessage()
    values, points = np.ones((1440, 2560), np.float32), np.ones((720, 1280, 4), np.float32)
    header = Header()

    def fill() -> None:
        np.copyto(depth.prepare(1440, 2560, header), values)
        np.copyto(cloud.prepare(720, 1280, header), points)

    fill()
    for message in (depth.message, cloud.message):
        assert isinstance(message.data, array.array)
    assert np.shares_memory(depth.prepare(1440, 2560, header), np.frombuffer(depth.message.data, np.float32))
    assert np.shares_memory(cloud.prepare(720, 1280, header), np.frombuffer(cloud.message.data, np.float32))
    tracemalloc.start()
    try:
        fill()
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert allocated < 100_000, "bytes beside the 29 MB that are there already"
