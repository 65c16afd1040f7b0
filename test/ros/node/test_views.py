"""A window of frames in the node: depth of the newest, and cloud and poses of all, in the newest one's optical frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.views import CoarseView, NewestView
from depth_retrofit_ros.coarse.window import ViewWindow
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.lens import Lens, RayTable
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.reconstruction.geometry import moved
from depth_retrofit_ros.reconstruction.refined_view import ViewRefiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.node.scale_fit import mode_refusal
from depth_retrofit_ros.ros.node.views import Window, quaternion, window_of
from depth_retrofit_ros.training.scenes.scene import rotation_ypr
from test.reconstruction.scene import BOX, FULL, WALL, WORLD_FROM, ExactModel, image
from test.refinement.nets import random_refiner
from test.ros.graph import NODE, Graph, SlantedWall, image_message, status, value, wait_until

SECOND = 1_000_000_000


def off_surface(positions: np.ndarray) -> np.ndarray:
    """Of positions ``[N, 3]``, from the wall or the box's front, whichever is nearer."""
    return np.minimum(np.abs(positions[:, 2] - WALL), np.abs(positions[:, 2] - BOX))


def info_of_scene(header: Header) -> CameraInfo:
    info = CameraInfo(width=FULL.width, height=FULL.height, distortion_model="plumb_bob", d=[0.0] * 5, header=header)
    info.k = [FULL.fx, 0.0, FULL.cx, 0.0, FULL.fy, FULL.cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [FULL.fx, 0.0, FULL.cx, 0.0, 0.0, FULL.fy, FULL.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def message(second: int) -> Image:
    sent = image_message(FULL.height, FULL.width)
    sent.header.stamp.sec = 100 + second
    return sent


def test_cloud_and_poses_of_the_window(graph: Graph) -> None:
    graph.depth_node(ViewWindow(ExactModel(), 2), cloud_stride=3, budget=0.0, min_budget=0.0)
    poses, clouds = graph.listen(PoseArray, f"{NODE}/views/poses"), graph.listen(PointCloud2, f"{NODE}/views/points")
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    images = graph.publisher(Image, "/image")

    def answered(count: int) -> bool:
        return len(poses) == len(clouds) == len(depths) == count

    graph.publisher(CameraInfo, "/camera_info").publish(info_of_scene(message(0).header))
    for second in range(3):
        images.publish(message(second))
        wait_until(partial(answered, second + 1), "the outputs of a frame")

    assert [len(sent.poses) for sent in poses] == [1, 2, 2]
    for sent in (poses[2], clouds[2]):
        assert sent.header == message(2).header
    own, other = poses[2].poses
    assert (own.position.x, own.position.y, own.position.z, own.orientation.w) == pytest.approx((0, 0, 0, 1), abs=1e-6)
    assert (other.position.x, other.position.y, other.position.z) == pytest.approx(WORLD_FROM[1][:, 3], abs=1e-6)

    cloud = clouds[2]
    assert (cloud.height, cloud.width, cloud.point_step) == (1, 2 * 24 * 32, 16)
    points = np.frombuffer(bytes(cloud.data), np.float32).reshape(-1, 4)
    assert np.median(off_surface(points)) < 5e-3
    assert (off_surface(points) > 0.05).mean() < 0.2  # the images are noise, which the upsampling follows along the box's outline


class Waiting(ExactModel):
    """Computes all views when they are asked for, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def predict_newest(self, images: Iterable[torch.Tensor]) -> NewestView:
        all_views = self.predict_views(images)

        def views() -> list[CoarseView]:
            self.asked += 1
            return all_views

        return NewestView(all_views[0].prediction, tuple(view.camera_from_world for view in all_views), views)


def test_the_other_views_are_computed_for_the_cloud_alone_and_at_its_rate(graph: Graph) -> None:
    model = Waiting()
    node = graph.depth_node(ViewWindow(model, 2), cloud_rate=0.0001, budget=0.0, min_budget=0.0)
    poses = graph.listen(PoseArray, f"{NODE}/views/poses")
    images = graph.publisher(Image, "/image")
    graph.publisher(CameraInfo, "/camera_info").publish(info_of_scene(message(0).header))
    for second in range(2):
        images.publish(message(second))
        wait_until(lambda count=second + 1: len(poses) == count, "the poses")  # type: ignore[misc]
    assert model.asked == 0 and len(poses[1].poses) == 2
    clouds, stats = graph.listen(PointCloud2, f"{NODE}/views/points"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    for second in range(2, 5):
        images.publish(message(second))
        wait_until(lambda count=second - 1: len(stats) == count, "the frame")  # type: ignore[misc]
    wait_until(lambda: clouds, "the one cloud that is due")
    assert (model.asked, len(clouds)) == (1, 1)
    assert graph.set_parameter(node, "cloud_rate", 0.0).successful
    images.publish(message(5))
    wait_until(lambda: len(clouds) == 2, "a cloud with every depth")


def test_the_diagnostics_tell_what_is_remembered_and_the_input_s_size(graph: Graph) -> None:
    model = ExactModel()
    model.size = long_side(518, 14)  # type: ignore[attr-defined]
    graph.depth_node(ViewWindow(model, 3), budget=0.0, min_budget=0.0)
    poses, reports = graph.listen(PoseArray, f"{NODE}/views/poses"), graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")
    graph.publisher(CameraInfo, "/camera_info").publish(info_of_scene(message(0).header))
    for second in range(2):
        images.publish(message(second))
        wait_until(lambda count=second + 1: len(poses) == count, "the poses")  # type: ignore[misc]

    def told(key: str) -> str:
        values = [pair.value for pair in status(reports[-1], "model").values if pair.key == key] if reports else []
        return "".join(values)

    wait_until(lambda: told("frames remembered") == "2", "the frames of the window")
    assert told("input") == "518x392 (long side 518)"


def test_a_model_without_a_past_tells_of_none(graph: Graph) -> None:
    graph.depth_node(SlantedWall())
    reports, stats = graph.listen(DiagnosticArray, "/diagnostics"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    graph.publisher(Image, "/image").publish(message(0))
    wait_until(lambda: stats, "a depth")
    wait_until(lambda: reports and value(reports[-1], "model", "scale") != "unknown until the first image", "a report after it")
    assert "frames remembered" not in {pair.key for pair in status(reports[-1], "model").values}


def test_the_views_of_all_frames_are_refined_by_one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Retrofit] = []
    start = Retrofit.__init__

    def counted(self: Retrofit, *arguments: object, **more: object) -> None:
        made.append(self)
        start(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Retrofit, "__init__", counted)
    refine = ViewRefiner("exact", ExactModel().claim, random_refiner(), 0.0)
    views = ExactModel().predict_views([torch.zeros(0)] * 3)
    first = refine(image(0), views[0])
    refine.budget = 0.2
    others = [refine(image(number), views[number]) for number in (1, 2)]
    assert len(made) == 1
    assert first.frame.refined_pixels == 0 and all(view.frame.refined_pixels > 0 for view in others)
    assert not np.array_equal(others[0].points, others[1].points)


def test_a_cloud_that_cannot_be_made_is_missing_alone(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ValueError("no cloud today")

    monkeypatch.setattr(Window, "points", broken)
    node = graph.depth_node(ViewWindow(ExactModel(), 2))
    poses, clouds = graph.listen(PoseArray, f"{NODE}/views/poses"), graph.listen(PointCloud2, f"{NODE}/views/points")
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    images = graph.publisher(Image, "/image")
    graph.publisher(CameraInfo, "/camera_info").publish(info_of_scene(message(0).header))
    images.publish(message(0))
    wait_until(lambda: poses and depths and any("no cloud today" in line for line in graph.warnings(node)), "all but the cloud")
    assert not clouds


def test_without_a_window_there_are_no_such_topics(graph: Graph) -> None:
    node = graph.depth_node(ViewWindow(ExactModel(), 2))
    assert {p.topic_name for p in node.publishers} >= {f"{NODE}/views/poses", f"{NODE}/views/points"}
    plain = graph.depth_node(SingleExact(), name="plain")
    assert not [p.topic_name for p in plain.publishers if "views" in p.topic_name]


class SingleExact(ExactModel):
    """The same model, asked for one image."""

    def predict(self, image: torch.Tensor, camera: object, hints: object = None) -> object:
        return self.predict_views([image])[0].prediction


def test_cloud_and_poses_are_in_the_metres_of_the_published_depth() -> None:
    """Depth that was aligned by a factor takes the poses and all points with it."""
    coarse, header = ViewWindow(ExactModel(), 2), Header(frame_id="optical")
    retrofit = Retrofit(coarse, random_refiner(), 0.0)
    for second in range(2):
        in_flight = retrofit.launch(Frame(image(second), second * SECOND + 1, "optical", FULL))
        newest = retrofit.collect(in_flight)
    window = window_of(in_flight.coarse, newest, replace(newest, depth=3 * newest.depth))
    assert window is not None and window.metres == pytest.approx(3.0)
    other = window.poses(header).poses[1]
    assert other.position.x == pytest.approx(3 * WORLD_FROM[1][0, 3])
    positions, colors = window.points(ViewRefiner("exact", coarse.claim, random_refiner(), 0.0), 2)
    assert len(positions) == len(colors) == 2 * 36 * 48
    assert np.median(off_surface(positions / 3)) < 5e-3
    assert window_of(in_flight.coarse, newest, replace(newest, scale_source=None)) is None
    assert window_of(in_flight.coarse, newest, replace(newest, camera=None)) is None
    fisheye = RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), FULL))
    assert window_of(in_flight.coarse, newest, newest, fisheye) is None, "its points are along other rays than a pinhole's"


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.3, -0.2, 0.1), (3.1, 0.0, 0.0), (0.0, 3.14159, 0.0), (-2.0, 1.0, 3.0)])
def test_quaternions_turn_as_their_rotations_do(angles: tuple[float, float, float]) -> None:
    rotation = rotation_ypr(*angles)
    x, y, z, w = quaternion(rotation)
    assert np.linalg.norm((x, y, z, w)) == pytest.approx(1.0) and w >= 0
    vector, axis = np.array([0.3, -0.7, 0.5]), np.array([x, y, z])
    turned = vector + 2 * w * np.cross(axis, vector) + 2 * np.cross(axis, np.cross(axis, vector))
    assert np.allclose(turned, moved(vector[:, None], np.concatenate((rotation, np.zeros((3, 1))), 1))[:, 0], atol=1e-6)


def test_views_and_a_shift_exclude_each_other() -> None:
    claim = ExactModel().claim
    assert mode_refusal("scale-shift", "exact", claim, views=1) is None
    assert mode_refusal("scale", "exact", claim, views=3) is None
    told = mode_refusal("scale-shift", "exact", claim, views=3)
    assert told is not None and "align cannot be scale-shift with 3 views" in told and "set align to scale" in told
