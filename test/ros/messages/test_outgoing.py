"""The outgoing messages: byte for byte what ROS itself makes of them, allocated once, written in place."""

from __future__ import annotations

import array
import tracemalloc

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.ros.messages.outgoing import CloudMessage, ImageMessage

KINDS = (("32FC1", np.float32, 1), ("16UC1", np.uint16, 1), ("rgb8", np.uint8, 3), ("mono8", np.uint8, 1), ("32FC3", np.float32, 3))
NAMES = ("", "a", "map", "camera_optical", "Kamera/größe_右", "cut\0here", "x" * 1000)


def random_header(random: np.random.Generator, frame_id: str) -> Header:
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = int(random.integers(-(2**31), 2**31)), int(random.integers(2**32))
    return header


def cloud_of(points: np.ndarray, header: Header) -> PointCloud2:
    """As ROS has it: float32 ``[h, w, 4]``."""
    height, width = points.shape[:2]
    names = (("x", 0), ("y", 4), ("z", 8), ("rgb", 12))
    fields = [PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1) for name, offset in names]
    data = array.array("B", points.tobytes())
    return PointCloud2(
        header=header, height=height, width=width, fields=fields, point_step=16, row_step=16 * width, is_dense=False, data=data
    )


def same(ours: np.ndarray, expected: bytes, *strings_and_bytes: tuple[int, str | None]) -> bool:
    """Whether these are the same but for padding, in which ROS leaves whatever lay there.

    strings_and_bytes: what pads, in order: how many bytes come before it since the last, and the string, or None for one byte.
    """
    one, other, end = ours.copy(), np.frombuffer(expected, np.uint8).copy(), 4
    for before, text in strings_and_bytes:
        end += before + (1 if text is None else 4 + len(text.split("\0")[0].encode()) + 1)  # ROS ends it there, too
        padding = -end % 4
        one[end : end + padding] = other[end : end + padding] = 0
        end += padding
    return one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("encoding", "dtype", "channels"), KINDS)
def test_an_image_is_what_ros_serializes(encoding: str, dtype: type[np.generic], channels: int) -> None:
    random, message = np.random.default_rng(channels), ImageMessage(encoding, dtype, channels)
    for round_, frame_id in enumerate((*NAMES, *NAMES[::-1])):
        height, width = random.integers(1, 20, 2).tolist() if round_ % 2 else (5, 7)
        header = random_header(random, frame_id)
        pixels = message.prepare(height, width, header)
        pixels.view(np.uint8)[...] = random.integers(0, 256, pixels.view(np.uint8).shape, dtype=np.uint8)
        data = array.array("B", pixels.tobytes())
        step = width * channels * np.dtype(dtype).itemsize
        expected = Image(header=header, height=height, width=width, encoding=encoding, step=step, data=data)
        assert same(message.serialized, serialize_message(expected), (8, frame_id), (8, encoding), (0, None))


def test_a_cloud_is_what_ros_serializes() -> None:
    random, message = np.random.default_rng(0), CloudMessage()
    for round_, frame_id in enumerate((*NAMES, *NAMES[::-1])):
        height, width = random.integers(0, 20, 2).tolist() if round_ % 2 else (5, 7)
        header = random_header(random, frame_id)
        points = message.prepare(height, width, header)
        points.view(np.uint32)[...] = random.integers(0, 2**32, points.shape, dtype=np.uint32)
        fields = [part for before, name in ((12, "x"), (4, "y"), (4, "z"), (4, "rgb")) for part in ((before, name), (4, None))]
        assert same(message.serialized, serialize_message(cloud_of(points, header)), (8, frame_id), *fields, (4, None))


def test_what_was_written_arrives_bit_for_bit() -> None:
    depth = ImageMessage("32FC1", np.float32, 1)
    values = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    values[3, 5] = np.nan
    np.copyto(depth.prepare(30, 40, Header(frame_id="a")), values)
    arrived = deserialize_message(depth.serialized.tobytes(), Image)
    assert (arrived.height, arrived.width, arrived.step, arrived.encoding, arrived.header.frame_id) == (30, 40, 160, "32FC1", "a")
    np.testing.assert_array_equal(np.frombuffer(arrived.data, np.float32).reshape(30, 40), values)


def test_memory_is_reused_until_the_size_changes() -> None:
    preview = ImageMessage("rgb8", np.uint8, 3)
    first = preview.prepare(30, 40, Header())
    first[:] = 7
    again = preview.prepare(30, 40, Header(frame_id="b"))
    assert again.ctypes.data == first.ctypes.data and (again == 7).all(), "a longer name moves nothing"
    assert deserialize_message(preview.serialized.tobytes(), Image).header.frame_id == "b"
    assert preview.prepare(31, 40, Header()).shape == (31, 40, 3)
    assert len(deserialize_message(preview.serialized.tobytes(), Image).data) == 31 * 40 * 3


@pytest.mark.parametrize("frame_id", NAMES)
def test_the_data_begins_at_a_cache_line(frame_id: str) -> None:
    for size in (1, 2, 3, 5):
        assert ImageMessage("32FC1", np.float32, 1).prepare(size, size, Header(frame_id=frame_id)).ctypes.data % 64 == 0
        assert CloudMessage().prepare(size, size, Header(frame_id=frame_id)).ctypes.data % 64 == 0


def test_filling_is_one_copy_into_the_memory_that_is_sent() -> None:
    depth, cloud = ImageMessage("32FC1", np.float32, 1), CloudMessage()
    values, points = np.ones((1440, 2560), np.float32), np.ones((720, 1280, 4), np.float32)
    header = Header()

    def fill() -> None:
        np.copyto(depth.prepare(1440, 2560, header), values)
        np.copyto(cloud.prepare(720, 1280, header), points)

    fill()
    assert np.shares_memory(depth.prepare(1440, 2560, header), depth.serialized)
    assert np.shares_memory(cloud.prepare(720, 1280, header), cloud.serialized)
    tracemalloc.start()
    try:
        fill()
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert allocated < 100_000, "bytes beside the 29 MB that are there already"


def test_what_no_message_can_hold_is_refused_before_it_is_allocated() -> None:
    for message in (CloudMessage(), ImageMessage("32FC3", np.float32, 3)):
        with pytest.raises(OutputError, match="GB cannot be sent"):
            message.prepare(1, 400_000_000, Header())
