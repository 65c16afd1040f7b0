"""A cloud for a page: as many points as it may have, at their places, in their colors."""

from __future__ import annotations

import array

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.ros.messages.outgoing import CloudMessage
from depth_retrofit_ros.ros.view.points import Extent, Points, extent, thinned
from depth_retrofit_ros.ros.view.web_page import _differ

CAMERA = Camera(80, 60, 40.0, 40.0, 39.5, 29.5)


def message(points: np.ndarray, last_field: str = "rgb") -> PointCloud2:
    outgoing = CloudMessage()
    outgoing.prepare(points.shape[0], points.shape[1], Header(), last_field=last_field)[...] = points
    return deserialize_message(outgoing.serialized.tobytes(), PointCloud2)


def wall(distance: float = 2.0) -> np.ndarray:
    image = np.zeros((60, 80, 3), np.uint8)
    image[...] = (200, 40, 90)
    return make_cloud(np.full((60, 80), distance, np.float32), image, CAMERA)


@pytest.mark.parametrize("at_most", [1, 7, 100, 1199, 1200, 4799, 4800, 100_000])
@pytest.mark.parametrize("shape", [(60, 80), (1, 4800)])
def test_there_are_nearly_as_many_points_as_there_may_be_and_never_more(at_most: int, shape: tuple[int, int]) -> None:
    found = thinned(message(wall().reshape(*shape, 4)), at_most)
    count, possible = len(found.positions), min(at_most, 4800)
    assert possible / 2 <= count <= possible and found.colors.shape == (count, 3)


def test_points_keep_their_places_and_colors() -> None:
    points = wall()
    found = thinned(message(points), 4800)
    np.testing.assert_array_equal(found.positions, points[..., :3].reshape(-1, 3))
    assert (found.colors == (200, 40, 90)).all()
    assert found.positions.dtype == np.float32 and found.colors.dtype == np.uint8


def test_unknown_points_are_left_out_and_an_empty_cloud_is_one() -> None:
    points = wall()
    points[:30, :, 2] = np.nan
    assert len(thinned(message(points), 4800).positions) == 2400
    nothing = thinned(message(np.zeros((1, 0, 4), np.float32)), 100)
    assert nothing.positions.shape == nothing.colors.shape == (0, 3)
    assert extent(nothing) is None


def test_intensity_is_gray() -> None:
    points = wall()
    points[..., 3] = 77.0
    assert (thinned(message(points, "intensity"), 10).colors == 77).all()


def test_what_is_no_cloud_of_the_node_is_one_line() -> None:
    with pytest.raises(ImageError, match="does not fit"):
        thinned(PointCloud2(height=2, width=2_000_000_000, point_step=16), 10)
    strange = message(wall())
    strange.fields[0].name = "range"
    with pytest.raises(ImageError, match="none of the depth node's"):
        thinned(strange, 10)
    with pytest.raises(ImageError, match="does not fit"):
        thinned(PointCloud2(height=1, width=1, point_step=12, data=array.array("B", bytes(12))), 10)


def test_clouds_that_lie_on_the_axis_are_alike() -> None:
    axis = Extent(2.0, (0.0, 0.0), 0.1)
    assert not _differ(axis, axis)
    assert _differ(axis, Extent(2.0, (0.5, 0.0), 0.1)) and _differ(axis, Extent(5.0, (0.0, 0.0), 0.1))


def test_the_extent_of_a_wall_is_its_cameras() -> None:
    found = extent(Points(wall(3.0)[..., :3].reshape(-1, 3), np.zeros((4800, 3), np.uint8)))
    assert found is not None
    assert found.distance == pytest.approx(3.0)
    assert found.slopes == pytest.approx((1.0, 0.75), rel=0.03)
    assert found.spacing == pytest.approx(3.0 / 40.0, rel=0.05), "of neighboring pixels"
