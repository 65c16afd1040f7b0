"""The cloud's parameters on a graph, and the frame of its box."""

from __future__ import annotations

import array
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.evaluation.metrics.obstacle_grid import ObstacleGrid, false_obstacles
from depth_retrofit_ros.ros.node.crop_frame import CropFrame
from depth_retrofit_ros.ros.node.parameters import NO_POSE, PARAMETERS, Settings
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, repeat_until, wait_until

POSE = (0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0)


def xyz(cloud: PointCloud2) -> np.ndarray:
    return np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)[..., :3]


def test_the_cloud_follows_its_parameters_live(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), cloud_stride=1, budget=0.0)
    clouds = graph.listen(PointCloud2, f"{NODE}/points")
    graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")

    def cloud_with(**changes: Any) -> PointCloud2:
        for name, value in changes.items():
            result = graph.set_parameter(node, name, value)
            assert result.successful, result.reason
        count = len(clouds)
        images.publish(image_message())
        wait_until(lambda: len(clouds) > count, f"a cloud with {changes}")
        return cast(PointCloud2, clouds[-1])

    plain = cloud_with()
    assert (plain.height, plain.width, plain.is_dense) == (48, 64, False) and np.isfinite(xyz(plain)).all()
    near = cloud_with(range_max=2.0)
    known = np.isfinite(xyz(near)[..., 2])
    assert (near.height, near.width, near.is_dense) == (48, 64, False)
    np.testing.assert_array_equal(known, np.linalg.norm(xyz(plain).astype(np.float64), axis=-1) <= 2.0)
    assert 0 < known.sum() < known.size
    box = cloud_with(range_max=0.0, crop_box=[-9.0, -9.0, 1.5, 9.0, 9.0, 2.5], crop_pose=[0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 1.0])
    inside = np.isfinite(xyz(box)[..., 2])
    np.testing.assert_array_equal(inside, (xyz(plain)[..., 2] - 0.5 >= 1.5) & (xyz(plain)[..., 2] - 0.5 <= 2.5))
    few = cloud_with(voxel_size=0.2, cloud_fields="intensity")
    assert (few.height, few.is_dense) == (1, True) and 0 < few.width < inside.sum() / 4 and np.isfinite(xyz(few)).all()
    assert [(field.name, field.offset) for field in few.fields] == [("x", 0), ("y", 4), ("z", 8), ("intensity", 12)]
    fewer = cloud_with(max_points=10)
    assert (fewer.height, fewer.width, fewer.row_step) == (1, 10, 160)
    again = cloud_with(crop_box=[0] * 6, voxel_size=0.0, max_points=0, cloud_fields="rgb")
    assert again.data == plain.data and again.fields == plain.fields and again.is_dense is False


def test_a_frame_that_cannot_be_reached_costs_the_cloud_alone_and_is_told(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), crop_box=[0.0, -1.0, 0.0, 3.0, 1.0, 2.0], crop_frame="nowhere")
    clouds, depths = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    images.publish(image_message())
    wait_until(lambda: depths and graph.warnings(node), "depth and a warning")
    assert not clouds
    (line,) = [line for line in graph.warnings(node) if "points" in line]
    assert "crop_frame 'nowhere' cannot be reached" in line
    assert graph.set_parameter(node, "crop_frame", "camera_optical").successful  # the image's own: nothing to look up
    images.publish(image_message())
    wait_until(lambda: clouds, "the cloud")


class SoftEdge(SlantedWall):
    """A near thing before a far wall, with a slope between them."""

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        prediction = super().predict(image, camera, hints)
        depth = torch.full((12, 16), 6.0)
        depth[:, :8] = 2.0
        return replace(prediction, depth=depth)


def test_a_grid_of_obstacles_has_fewer_false_ones(graph: Graph) -> None:
    node = graph.depth_node(SoftEdge(), cloud_stride=1, budget=0.0)
    grid, seen = ObstacleGrid(), list[int]()
    true = grid.marked(np.array([[x, 0.0, z] for z in (2.0, 6.0) for x in np.arange(-8, 8, 0.05)], np.float32))

    def consume(cloud: PointCloud2) -> None:
        seen.append(false_obstacles(grid.marked(xyz(cloud)), true))

    graph.client.create_subscription(PointCloud2, f"{NODE}/points", consume, 10)
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    wait_until(lambda: graph.client.count_publishers(f"{NODE}/points"), "the cloud's publisher")
    gray = image_message()  # without edges to follow
    gray.data = array.array("B", bytes(len(gray.data)))
    repeat_until(lambda: images.publish(gray), lambda: seen, "a cloud")
    before = seen[-1]
    assert before >= 6
    assert graph.set_parameter(node, "flying_pixels", 20.0).successful
    repeat_until(lambda: images.publish(gray), lambda: seen[-1] <= before / 3, "fewer false obstacles")


@pytest.mark.parametrize(
    ("value", "refused"),
    [([0.0] * 6, False), ([-1.0, -1.0, 0.0, 1.0, 1.0, 2.0], False), ([1.0] * 6, True), ([0.0] * 5, True), ([np.nan] * 6, True)],
)
def test_a_box_is_two_corners_or_none(value: list[float], refused: bool) -> None:
    (row,) = (row for row in PARAMETERS if row.name == "crop_box")
    assert (row.refusal(value) is not None) == refused


class Tf(ModuleType):
    """Stands for tf2_ros: one transform, at a stamp."""

    def __init__(self, known_ns: int) -> None:
        super().__init__("tf2_ros")
        self.known_ns, self.listening, self.asked = known_ns, 0, list[tuple[str, str, int]]()

    def Buffer(self) -> Tf:
        return self

    def TransformListener(self, buffer: Any, node: Any) -> Tf:
        self.listening += 1
        return self

    def unregister(self) -> None:
        self.listening -= 1

    def lookup_transform(self, target: str, source: str, when: Time) -> Any:
        self.asked.append((target, source, when.nanoseconds))
        if target != "base_link" or (when.nanoseconds not in (0, self.known_ns) and self.known_ns):
            raise LookupError("extrapolation into the future")
        x, y, z, qx, qy, qz, qw = POSE
        header = Header(stamp=Time(nanoseconds=self.known_ns).to_msg())
        at, turn = SimpleNamespace(x=x, y=y, z=z), SimpleNamespace(x=qx, y=qy, z=qz, w=qw)
        return SimpleNamespace(header=header, transform=SimpleNamespace(translation=at, rotation=turn))


@pytest.fixture
def tf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tf]:
    made = Tf(0)
    monkeypatch.setitem(sys.modules, "tf2_ros", made)
    yield made


def settings_with(**changes: Any) -> Settings:
    values = {row.name: row.default for row in PARAMETERS}
    return Settings(**{**values, "crop_box": (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), **changes})


HEADER = Header(frame_id="camera_optical", stamp=Time(seconds=100).to_msg())


def test_tf_is_listened_to_while_a_box_is_in_another_frame(tf: Tf) -> None:
    crop = CropFrame(cast(Any, None))
    crop.follow(settings_with(crop_frame="base_link"))
    crop.follow(settings_with(crop_frame="base_link"))
    assert tf.listening == 1
    assert crop.pose(HEADER, settings_with(crop_frame="base_link")) == POSE
    assert tf.asked == [("base_link", "camera_optical", 100 * 10**9)]
    crop.follow(settings_with(crop_frame="base_link", crop_box=(0.0,) * 6))
    assert tf.listening == 0
    crop.destroy()


def test_the_newest_transform_serves_if_it_is_near_the_image(tf: Tf) -> None:
    crop, settings = CropFrame(cast(Any, None)), settings_with(crop_frame="base_link")
    crop.follow(settings)
    tf.known_ns = 100 * 10**9 - 3 * 10**8
    assert crop.pose(HEADER, settings) == POSE
    tf.known_ns = 98 * 10**9
    with pytest.raises(OutputError, match=r"2\.0 s older than the image"):
        crop.pose(HEADER, settings)
    with pytest.raises(OutputError, match="'map' cannot be reached from 'camera_optical': extrapolation into the future"):
        crop.pose(HEADER, settings_with(crop_frame="map"))


def test_without_tf2_the_remedy_is_told_and_a_fixed_pose_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    crop, settings = CropFrame(cast(Any, None)), settings_with(crop_frame="base_link")
    crop.follow(settings)
    with pytest.raises(OutputError, match="install tf2_ros, or leave crop_frame empty and set crop_pose"):
        crop.pose(HEADER, settings)
    assert crop.pose(HEADER, settings_with(crop_pose=POSE)) == POSE
    assert crop.pose(HEADER, settings_with(crop_frame="camera_optical", crop_pose=POSE)) == NO_POSE
