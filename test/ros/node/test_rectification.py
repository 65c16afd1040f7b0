"""Raw images through a real graph: what is published is that of rectified ones."""

from __future__ import annotations

import array
import threading
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.lens import Lens, RayTable
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.messages import rectification
from depth_retrofit_ros.runtime.watchdog import FIRST
from test.ros.graph import NODE, PATIENCE_S, Graph, SlantedWall, pixels_of, status, wait_until

RAW, NEW = Camera(96, 64, 50.0, 50.0, 47.0, 31.0), Camera(96, 64, 24.0, 25.0, 48.0, 32.0)
LENS = Lens("equidistant", (-0.05, 0.01, 0.0, 0.0), RAW)
NORMAL, DISTANCE = np.array([0.2, -0.1, 1.0]), 2.0  # of a wall: NORMAL · X = DISTANCE


def info(d: tuple[float, ...] = LENS.coefficients) -> CameraInfo:
    made = CameraInfo(width=96, height=64, distortion_model="equidistant", d=list(d), header=Header(frame_id="camera_optical"))
    made.k = [RAW.fx, 0.0, RAW.cx, 0.0, RAW.fy, RAW.cy, 0.0, 0.0, 1.0]
    made.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    made.p = [NEW.fx, 0.0, NEW.cx, 0.0, 0.0, NEW.fy, NEW.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return made


def painted(stamp_s: int) -> Image:
    """The wall as the lens shows it, with its depth painted on it: 40 times the depth [m] in red."""
    slopes = RayTable(LENS).slopes.astype(np.float64)
    depth = DISTANCE / (slopes @ NORMAL[:2] + NORMAL[2])
    pixels = np.repeat(np.clip(40 * depth, 0, 255).round().astype(np.uint8)[..., None], 3, 2)
    message = Image(height=64, width=96, encoding="rgb8", step=3 * 96, data=array.array("B", pixels.tobytes()))
    message.header.stamp.sec, message.header.frame_id = stamp_s, "camera_optical"
    return message


class ReadsDepth(SlantedWall):
    """A model that reads the depth that is painted on the image, pixel by pixel."""

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        self.calls, self.camera = self.calls + 1, camera
        depth = image[..., 0].float().clamp_min(1) / 40
        return CoarsePrediction(depth, torch.zeros(8, *depth.shape))


def off_the_wall(cloud: Any) -> np.ndarray:
    """Of the known points, how far each is from the wall, as a share of its depth."""
    points = pixels_of(cloud)[..., :3].reshape(-1, 3).astype(np.float64)
    points = points[np.isfinite(points).all(1)]
    assert len(points) > 1000
    return np.asarray(np.abs(points @ NORMAL - DISTANCE) / points[:, 2])


def play(graph: Graph, rectify: str, infos: list[CameraInfo], **options: Any) -> tuple[Any, ...]:
    model = ReadsDepth()
    arguments = ["--ros-args", "-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"]
    node = graph.depth_node(model, cli_args=arguments, cloud_stride=1, rectify=rectify, **options)
    assert node._processor is not None
    topics = ((Image, "depth/image_rect"), (CameraInfo, "depth/camera_info"), (PointCloud2, "points"), (FrameStats, "frame_stats"))
    heard = [graph.listen(kind, f"{NODE}/{name}") for kind, name in topics]
    images, calibration = graph.publisher(Image, "/camera/image_raw"), graph.publisher(CameraInfo, "/camera/camera_info")
    for number, sent in enumerate(infos, 1):
        calibration.publish(sent)
        wait_until(lambda: node._processor and node._processor.info == sent, "the camera_info")  # noqa: B023
        images.publish(painted(number))
        wait_until(lambda: all(len(messages) == number for messages in heard), f"answer {number}")  # noqa: B023
    return node, model, heard


def test_raw_images_are_rectified_and_everything_says_so(graph: Graph) -> None:
    changed = info((0.0, 0.0, 0.0, 1e-6))
    node, model, (depths, infos, clouds, stats) = play(graph, "auto", [info(), info(), changed])
    assert model.camera == NEW
    for out in infos:
        assert not any(out.d) and out.distortion_model == "plumb_bob" and list(out.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
        assert [out.k[0], out.k[4], out.k[2], out.k[5]] == [NEW.fx, NEW.fy, NEW.cx, NEW.cy]
        assert out.header.frame_id == "camera_optical"
    depth = pixels_of(depths[0])
    assert np.isnan(depth[32, 0]) and 0.01 < np.isnan(depth).mean() < 0.5, "the raw image does not reach to both sides"
    assert np.median(off_the_wall(clouds[0])) < 0.01 and np.quantile(off_the_wall(clouds[0]), 0.95) < 0.03
    np.testing.assert_array_equal(depth, pixels_of(depths[1]))
    assert np.nanmax(np.abs(pixels_of(depths[2]) - depth)) > 0.01, "a calibration that changes has a map of its own"
    assert [(s.received, s.processed, s.dropped, s.failed) for s in stats] == [(n, n, 0, 0) for n in (1, 2, 3)]
    assert not graph.warnings(node)


def test_an_image_that_stays_a_fisheye_s_gives_points_along_its_rays_and_a_word_changes_it_live(graph: Graph) -> None:
    node, model, (_, infos, clouds, _) = play(graph, "points", [info()])
    assert model.camera == RAW
    assert list(infos[0].d) == list(LENS.coefficients) and infos[0].distortion_model == "equidistant"
    sent = info()
    for name in ("k", "r", "p"):  # of an image that is not rectified, as CameraInfo.msg has it: P is of the one that would be
        assert list(getattr(infos[0], name)) == list(getattr(sent, name)), name
    assert np.quantile(off_the_wall(clouds[0]), 0.95) < 0.02
    assert graph.set_parameter(node, "rectify", True).successful, "YAML's word for it"
    images = graph.client.create_publisher(Image, "/camera/image_raw", 1)
    wait_until(lambda: images.publish(painted(5)) or len(infos) > 1, "another answer")
    assert not any(infos[-1].d)


def test_a_map_that_is_long_in_the_making_is_no_hang(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    release, make = threading.Event(), rectification._optics

    def slowly(*arguments: Any) -> Any:
        assert release.wait(PATIENCE_S)
        return make(*arguments)

    monkeypatch.setattr(rectification, "_optics", slowly)
    node, _, (depths, *_) = play(graph, "false", [info()], patience_s=0.2)
    assert graph.set_parameter(node, "rectify", "points").successful
    reports, images = graph.listen(DiagnosticArray, "/diagnostics"), graph.publisher(Image, "/camera/image_raw")
    images.publish(painted(2))
    wait_until(lambda: reports and status(reports[-1], "pipeline").level != DiagnosticStatus.OK, "the news")
    assert (status(reports[-1], "pipeline").level, status(reports[-1], "pipeline").message) == (DiagnosticStatus.WARN, FIRST)
    release.set()
    wait_until(lambda: len(depths) == 2 and status(reports[-1], "pipeline").level == DiagnosticStatus.OK, "the end of it")
