"""The cloud's parameters on a graph, and the frame of its box."""

from __future__ import annotations

import array
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, TransformStamped
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.evaluation.metrics.obstacle_grid import ObstacleGrid, false_obstacles
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.lens import Lens, RayTable
from depth_retrofit_ros.pointcloud.filters import CloudFilter
from depth_retrofit_ros.pointcloud.poses import Pose
from depth_retrofit_ros.ros.node import tf_listener
from depth_retrofit_ros.ros.node.crop_frame import AGAIN_S, CropFrame, crops_by_tf
from depth_retrofit_ros.ros.node.parameters import NO_BOX, NO_POSE, PARAMETERS, Settings
from depth_retrofit_ros.ros.node.transforms import LATE_S, Transforms
from depth_retrofit_ros.runtime.host_outputs import HostOutputs
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, repeat_until, value, wait_until

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
        for name, wanted in changes.items():
            result = graph.set_parameter(node, name, wanted)
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
    assert node._processor is not None
    transforms = node._processor.transforms
    transforms.missing = ""  # where TF's messages are not installed their content is given by hand
    clouds, depths = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    images.publish(image_message())
    wait_until(lambda: depths and graph.warnings(node), "depth and a warning")
    assert not clouds
    (line,) = [line for line in graph.warnings(node) if "points" in line]
    assert "crop_frame 'nowhere' cannot be reached: TF has no frame" in line
    transform = at(0.0)
    transform.header.frame_id = "nowhere"
    transforms.offer([transform], is_static=True)
    images.publish(image_message())
    wait_until(lambda: clouds, "the cloud")
    assert graph.set_parameter(node, "crop_frame", "camera_optical").successful  # the image's own: nothing to look up
    images.publish(image_message())
    wait_until(lambda: len(clouds) == 2, "the cloud")


@pytest.mark.usefixtures("often")
def test_a_frame_of_which_only_the_cloud_is_asked_for_counts_as_failed_where_there_is_none(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), crop_box=[0.0, -1.0, 0.0, 3.0, 1.0, 2.0], crop_frame="nowhere")
    clouds, reports = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")

    def counts() -> tuple[int, ...]:
        if not reports:
            return ()
        return tuple(int(value(reports[-1], "input", key)) for key in ("received", "processed", "dropped", "failed"))

    images.publish(image_message())
    wait_until(lambda: counts() == (1, 0, 0, 1), "a frame that failed")
    assert not clouds and [line for line in graph.warnings(node) if "crop_frame 'nowhere' cannot be reached" in line]
    assert graph.set_parameter(node, "crop_frame", "").successful
    images.publish(image_message())
    wait_until(lambda: clouds and counts() == (2, 1, 0, 1), "one that did not")


def test_filters_follow_the_rays_of_a_lens_that_stays(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), cloud_stride=1, rectify="points", range_max=2.0, voxel_size=0.1, flying_pixels=1.0)
    clouds = graph.listen(PointCloud2, f"{NODE}/points")
    info = info_message()
    info.distortion_model, info.d = "equidistant", [0.0, 0.0, 0.0, 0.0]
    graph.publisher(CameraInfo, "/camera_info").publish(info)
    images = graph.publisher(Image, "/image")
    images.publish(image_message())
    wait_until(lambda: clouds, "the cloud")
    points = xyz(clouds[0])[0].astype(np.float64)
    assert clouds[0].is_dense and len(points) > 20 and np.linalg.norm(points, axis=-1).max() <= 2.0
    camera = Camera(64, 48, *(info.k[place] for place in (0, 4, 2, 5)))
    slopes = RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), camera)).slopes
    assert np.abs(points[:, 0] / points[:, 2]).max() > 1.02 * np.abs(camera.ray_slopes()[0]).max()
    assert graph.set_parameter(node, "voxel_size", 0.0).successful
    images.publish(image_message())
    wait_until(lambda: len(clouds) == 2, "the cloud")
    there = np.isfinite(xyz(clouds[1])[..., 2])
    along = xyz(clouds[1])[..., :2] / xyz(clouds[1])[..., 2:]
    np.testing.assert_allclose(along[there], slopes[there], rtol=1e-5, atol=1e-6)


def test_a_sky_at_its_limit_is_the_cloud_s_alone() -> None:
    """What else is made of surfaces (disparity, scan) has none there still."""
    depth, nowhere = torch.full((8, 12), 2.0), torch.empty(0)
    depth[:4] = 50.0
    chosen = PixelSet.from_indices(torch.empty(0, dtype=torch.int64), (8, 12))
    sky = torch.zeros(4, 6, dtype=torch.bool)
    sky[:2] = True
    camera = Camera(12, 8, 10.0, 10.0, 5.5, 3.5)
    frame = Frame(np.zeros((8, 12, 3), np.uint8), camera=camera)
    coarse = torch.where(sky, 50.0, 2.0)
    result = DepthFrame(depth, nowhere, coarse, "model", chosen, nowhere, sky=sky)
    for optics in (None, RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), camera))):
        for cloud, is_there in ((CloudFilter(), False), (CloudFilter(keep_sky=True), True)):
            fills = HostOutputs(torch.device("cpu")).begin(
                result, replace(frame, optics=optics), ("points", "disparity"), 1, cloud=cloud
            )
            points, disparity = np.empty((8, 12, 4), np.float32), np.empty((8, 12), np.float32)
            for name, out in (("points", points), ("disparity", disparity)):
                fills[name](out)
            assert np.isfinite(points[0, :, 2]).all() == is_there and np.isfinite(points[-1, :, 2]).all()
            assert not (disparity[0] > 0).any() and (disparity[-1] > 0).all()


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


@pytest.mark.parametrize(
    ("value", "refused"), [(0.0, False), (0.001, False), (100.0, False), (1e-9, True), (-0.1, True), (101.0, True)]
)
def test_a_voxel_is_of_a_millimetre_at_least_or_none(value: float, refused: bool) -> None:
    (row,) = (row for row in PARAMETERS if row.name == "voxel_size")
    wanted = f"voxel_size must be 0, or 0.001 to 100, not {value}"
    assert row.refusal(value) == (wanted if refused else None)


def settings_with(**changes: Any) -> Settings:
    values = {row.name: row.default for row in PARAMETERS}
    return Settings(**{**values, "crop_box": (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), **changes})


HEADER = Header(frame_id="camera_optical", stamp=Time(seconds=100).to_msg())


def at(seconds: float, x: float = POSE[0]) -> TransformStamped:
    """The camera in base_link."""
    transform = TransformStamped(child_frame_id="camera_optical")
    transform.header.frame_id, transform.header.stamp = "base_link", Time(nanoseconds=round(1e9 * seconds)).to_msg()
    t, r = transform.transform.translation, transform.transform.rotation
    t.x, t.y, t.z, r.x, r.y, r.z, r.w = (x, *POSE[1:])
    return transform


def test_the_box_is_where_tf_has_it_at_the_image_s_stamp() -> None:
    transforms, settings = Transforms(), settings_with(crop_frame="base_link")
    crop = CropFrame(transforms)
    transforms.offer([at(99.0, 0.0), at(101.0, 0.2)], is_static=False)
    made = crop.filter(HEADER, settings)
    assert made.box == (0.0, 0.0, 0.0, 1.0, 1.0, 1.0) and made.pose == pytest.approx(POSE)
    assert crop.filter(HEADER, settings_with(crop_box=NO_BOX, crop_frame="nowhere")).box is None
    with pytest.raises(OutputError, match="'map' cannot be reached: TF has no frame 'map': publish it, or leave it empty and set"):
        crop.pose(HEADER, settings_with(crop_frame="map"))
    assert crop.pose(HEADER, settings_with(crop_pose=POSE)) == POSE
    assert crop.pose(HEADER, settings_with(crop_frame="camera_optical", crop_pose=POSE)) == NO_POSE
    with pytest.raises(OutputError, match="range_min 3 must be below range_max 2"):
        crop.filter(HEADER, settings_with(crop_box=NO_BOX, range_min=3.0, range_max=2.0))


def test_a_late_transform_is_waited_for_and_one_that_never_comes_is_not_every_time() -> None:
    waits: list[float] = []

    class Late(Transforms):
        def lookup(self, target: str, source: str, stamp_ns: int, wait_s: float = 0.0) -> Pose:
            waits.append(wait_s)
            return super().lookup(target, source, stamp_ns, 0.0)

    transforms, settings = Late(), settings_with(crop_frame="base_link")
    crop = CropFrame(transforms)
    transforms.offer([at(99.0)], is_static=False)
    for _ in range(3):
        with pytest.raises(OutputError, match=r"ends 1\.000 s before the image"):
            crop.pose(HEADER, settings)
    transforms.offer([at(100.0)], is_static=False)
    assert crop.pose(HEADER, settings) == pytest.approx(POSE)
    assert waits == [LATE_S, 0.0, 0.0, 0.0]
    crop._missed_s -= AGAIN_S
    crop.pose(HEADER, settings)
    assert waits[-1] == LATE_S


def test_without_tf_messages_the_remedy_is_told_and_a_fixed_pose_serves() -> None:
    crop = CropFrame(Transforms("TF needs the package tf2_msgs"))
    with pytest.raises(OutputError, match="TF needs the package tf2_msgs, or leave it empty and set crop_pose"):
        crop.pose(HEADER, settings_with(crop_frame="base_link"))
    assert crop.pose(HEADER, settings_with(crop_pose=POSE)) == POSE


def test_tf_is_of_use_while_the_cloud_has_a_box_in_a_frame() -> None:
    assert crops_by_tf(settings_with(crop_frame="base_link"))
    assert not crops_by_tf(settings_with())
    assert not crops_by_tf(settings_with(crop_frame="base_link", crop_box=NO_BOX))
    assert not crops_by_tf(settings_with(crop_frame="base_link", outputs=("depth",)))


def test_tf_is_listened_to_while_the_cloud_s_box_is_in_another_frame(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for TF's messages, which no wheel has."""
    monkeypatch.setattr(tf_listener, "tf_message", lambda: PoseArray)
    node = graph.depth_node(SlantedWall())
    assert node._processor is not None

    def heard() -> int:
        return len([subscription for subscription in node.subscriptions if subscription.topic_name in ("/tf", "/tf_static")])

    def set_to(name: str, value: Any) -> None:
        assert graph.set_parameter(node, name, value).successful

    assert heard() == 0 and not node._processor.needs_transforms
    set_to("crop_frame", "base_link")
    assert heard() == 0, "there is no box"
    set_to("crop_box", [0.0, -1.0, 0.0, 3.0, 1.0, 2.0])
    set_to("range_max", 5.0)
    assert heard() == 2 and node._processor.needs_transforms
    node.trigger_deactivate()
    assert heard() == 0
    set_to("range_max", 6.0)
    assert heard() == 0, "inactive"
    node.trigger_activate()
    assert heard() == 2
    set_to("crop_frame", "")
    assert heard() == 0
