"""Messages for a viewer: small, and still what they were."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.pointcloud.organized import cloud_size, fill_cloud, make_cloud
from depth_retrofit_ros.ros.messages.images import compressed_to_rgb
from depth_retrofit_ros.ros.messages.jpeg import jpeg
from depth_retrofit_ros.ros.messages.outgoing import CloudMessage
from depth_retrofit_ros.ros.view.pictures import MARK_RGB, marked, mono8, shaded, shrunk, smaller_cloud, step_for
from test.ros.graph import pixels_of

HEADER = Header(frame_id="camera_optical")


@pytest.mark.parametrize(("columns", "width", "step"), [(640, 640, 1), (641, 640, 2), (2560, 640, 4), (1, 640, 1), (7, 1, 7)])
def test_at_most_so_many_columns_remain(columns: int, width: int, step: int) -> None:
    assert step_for(columns, width) == step
    assert shrunk(np.zeros((3, columns, 3), np.uint8), width).shape[1] <= width


def test_an_image_is_averaged_and_never_the_message_s_own_memory() -> None:
    image = np.zeros((4, 8), np.uint8)
    image[:, ::2] = 100
    np.testing.assert_array_equal(shrunk(image, 4), np.full((2, 4), 50))
    same = shrunk(image, 8)
    assert not np.shares_memory(same, image)


def test_refined_pixels_are_marked_by_their_share() -> None:
    image, selection = np.full((2, 4, 3), 10, np.uint8), np.zeros((4, 8), np.uint8)
    selection[0:2, 0:2] = 255
    selection[0, 2:4] = 255
    picture = marked(image, selection, 4).astype(int)
    full, half, none = picture[0, 0], picture[0, 1], picture[0, 2]
    np.testing.assert_array_equal(full, np.round(10 + 0.6 * (np.array(MARK_RGB) - 10)))
    np.testing.assert_allclose(half - 10, (full - 10) / 2, atol=1)
    np.testing.assert_array_equal(none, 10)


def test_without_an_image_the_marks_are_on_black_and_another_size_is_refused() -> None:
    assert marked(None, np.zeros((4, 8), np.uint8), 4).max() == 0
    with pytest.raises(ImageError, match="8x4"):
        marked(np.zeros((3, 4, 3), np.uint8), np.zeros((4, 8), np.uint8), 4)


def test_confidence_is_gray_and_what_is_unknown_is_as_black_as_none() -> None:
    shares = np.array([[0.0, 0.5, 1.0], [np.nan, -1.0, 7.0]], np.float32)
    picture = shaded(shares)
    assert picture.dtype == np.uint8 and (picture == picture[..., :1]).all()
    np.testing.assert_array_equal(picture[..., 0], [[0, 128, 255], [0, 0, 255]])


def test_a_picture_keeps_header_and_colours() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[...] = (200, 40, 90)
    message = jpeg(image, HEADER)
    assert (message.header.frame_id, message.format) == ("camera_optical", "jpeg")
    np.testing.assert_allclose(compressed_to_rgb(message), image, atol=4)


def test_a_smaller_cloud_is_the_cloud_of_a_larger_step() -> None:
    depth, image = np.random.default_rng(0).uniform(1, 5, (9, 13)).astype(np.float32), np.full((9, 13, 3), 7, np.uint8)
    camera = Camera(13, 9, 10.0, 10.0, 6.0, 4.0)
    depth[0, 0] = np.nan
    outgoing = CloudMessage()
    fill_cloud(depth, image, camera, outgoing.prepare(*cloud_size(9, 13, 1), HEADER))
    whole = deserialize_message(outgoing.serialized.tobytes(), PointCloud2)
    smaller = smaller_cloud(whole, 5)
    assert (smaller.height, smaller.width, smaller.row_step, smaller.point_step) == (3, 5, 80, 16)
    assert smaller.header == HEADER and smaller.fields == whole.fields
    expected = make_cloud(depth, image, camera, 3)
    np.testing.assert_array_equal(pixels_of(smaller).view(np.uint32), expected.view(np.uint32))


def test_what_does_not_fit_its_data_is_one_line() -> None:
    with pytest.raises(ImageError, match="does not fit"):
        smaller_cloud(PointCloud2(height=2, width=2_000_000_000, point_step=16), 640)
    with pytest.raises(ImageError, match="does not fit"):
        mono8(Image(height=2_000_000_000, width=2, step=2, encoding="mono8"))
    with pytest.raises(ImageError, match="rgb8"):
        mono8(Image(encoding="rgb8"))
