"""One frame in: what comes out, and that it fits together."""

from __future__ import annotations

import array
import functools
import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.exceptions import InvalidHandle
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.io.color_map import colorize_normals
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.pointcloud.normals import normals_of, surface_normals
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.refinement.kinds import KIND
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.ros.messages.calibration import camera_from_info
from depth_retrofit_ros.ros.node import node as node_module
from depth_retrofit_ros.ros.node import outputs as outputs_module
from depth_retrofit_ros.ros.node.outputs import _TOPICS, Outputs
from depth_retrofit_ros.ros.node.parameters import Settings, declare
from depth_retrofit_ros.runtime.host_outputs import Fill, HostOutputs
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, pixels_of, repeat_until, status, value, wait_until


def test_the_node_names_every_topic_that_it_publishes() -> None:
    named = set(re.findall(r"~/[a-zD0-9_/]+", node_module.__doc__ or ""))
    assert named == {topic for _, topic, _ in _TOPICS.values()}


def send_with_info(graph: Graph, image: Image, info: CameraInfo) -> None:
    graph.publisher(CameraInfo, "/camera_info").publish(info)
    graph.publisher(Image, "/image").publish(image)


def test_a_frame_becomes_depth_info_cloud_preview_and_statistics(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), cloud_stride=3)
    depths, infos = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(CameraInfo, f"{NODE}/depth/camera_info")
    clouds, previews = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(Image, f"{NODE}/depth/preview")
    stats, selections = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(Image, f"{NODE}/depth/selection")
    image, calibration = image_message(96, 128), info_message(48, 64)  # calibrated at half the size
    info_publisher = graph.publisher(CameraInfo, "/camera_info")
    info_publisher.publish(calibration)
    graph.publisher(Image, "/image").publish(image)
    wait_until(lambda: depths and infos and clouds and previews and selections and stats, "all outputs")

    (depth,), (info,), (cloud,), (preview,), (selection,), (stat,) = depths, infos, clouds, previews, selections, stats
    for message in (depth, info, cloud, preview, selection, stat):
        assert message.header == image.header
    camera = camera_from_info(calibration, 128, 96)
    assert camera is not None

    assert (depth.encoding, depth.height, depth.width, depth.step, depth.is_bigendian) == ("32FC1", 96, 128, 512, 0)
    z = pixels_of(depth)
    assert z.min() > 0.5 and z.max() < 4.0 and (np.diff(np.median(z, axis=1)) > -0.05).all()

    assert (info.width, info.height) == (128, 96)
    assert (info.p[0], info.p[5], info.p[2], info.p[6]) == pytest.approx((camera.fx, camera.fy, camera.cx, camera.cy))
    assert info.p[3] == pytest.approx(2 * calibration.p[3])
    assert list(info.d) == list(calibration.d)

    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step, cloud.is_dense) == (32, 43, 16, 43 * 16, False)
    assert [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
        ("rgb", 12, 7, 1),
    ]
    expected = make_cloud(z, pixels_of(image), camera, 3)
    np.testing.assert_array_equal(pixels_of(cloud).view(np.uint32), expected.view(np.uint32))

    assert (preview.encoding, preview.height, preview.width) == ("rgb8", 96, 128)
    top, bottom = pixels_of(preview)[4].mean(axis=0), pixels_of(preview)[-4].mean(axis=0)
    assert top[0] > bottom[0] and top[2] < bottom[2], "near is warm, far is cold"

    assert (selection.encoding, selection.height, selection.width, selection.step) == ("mono8", 96, 128, 128)
    values, counts = np.unique(np.frombuffer(selection.data, np.uint8), return_counts=True)
    assert values.tolist() == [0, 255] and counts[1] == stat.refined_pixels

    assert (stat.received, stat.processed, stat.dropped, stat.failed) == (1, 1, 0, 0)
    assert stat.metric and stat.scale_source == "model" and stat.model == "slanted-wall"  # what runs, whatever the parameter says
    assert stat.budget == pytest.approx(0.1) and abs(stat.refined_pixels - 0.1 * 96 * 128) < 2
    stages = [stat.coarse_ms, stat.upsample_ms, stat.select_ms, stat.refine_ms, stat.fuse_ms, stat.publish_ms]
    assert min(stages) > 0.0 and sum(stages) <= stat.total_ms * 1.01


@pytest.mark.parametrize("size", [(64, 48), (1280, 960)])
def test_the_depth_and_its_info_make_the_cloud(graph: Graph, size: tuple[int, int]) -> None:
    """What a downstream node computes from depth and camera_info is what we publish as points."""
    width, height = size
    graph.depth_node(SlantedWall(), cloud_stride=1)
    depths, infos = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(CameraInfo, f"{NODE}/depth/camera_info")
    clouds = graph.listen(PointCloud2, f"{NODE}/points")
    send_with_info(graph, image_message(height, width), info_message())
    wait_until(lambda: depths and infos and clouds, "depth, info and cloud")
    z, p = pixels_of(depths[0]).astype(np.float64), infos[0].p
    v, u = np.mgrid[:height, :width]
    points = np.stack(((u - p[2]) / p[0] * z, (v - p[6]) / p[5] * z, z), axis=-1)
    np.testing.assert_allclose(pixels_of(clouds[0])[..., :3], points, rtol=1e-5, atol=1e-5)


class WallUnderTheSky(SlantedWall):
    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        prediction = super().predict(image, camera, hints)
        sky = torch.zeros(12, 16, dtype=torch.bool)
        sky[:4] = True
        return replace(prediction, sky=sky)


def test_the_sky_has_depth_and_no_points(graph: Graph) -> None:
    graph.depth_node(WallUnderTheSky(), cloud_stride=1, budget=0.0)
    depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
    send_with_info(graph, image_message(48, 64), info_message())
    wait_until(lambda: depths and clouds, "depth and cloud")
    assert np.isfinite(pixels_of(depths[0])).all()
    known = np.isfinite(pixels_of(clouds[0])[..., 2])
    assert not known[:16].any() and known[16:].all()


def test_compressed_images_come_through_the_transport_s_topic(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), image_transport="compressed")
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    raw = image_message(60, 80)
    ok, data = cv2.imencode(".png", pixels_of(raw)[..., ::-1])
    assert ok
    message = CompressedImage(header=raw.header, format="rgb8; png compressed bgr8", data=array.array("B", data.tobytes()))
    graph.publisher(CompressedImage, "/image/compressed").publish(message)
    wait_until(lambda: depths, "depth")
    assert depths[0].header == raw.header
    assert pixels_of(depths[0]).shape == (60, 80)


@pytest.mark.parametrize(
    ("transport", "rules", "topic"),
    [
        ("raw", ["image:=/front/image_rect"], "/front/image_rect"),
        ("compressed", ["image:=/front/image_rect"], "/front/image_rect/compressed"),
        ("compressed", ["image/compressed:=/front/jpeg"], "/front/jpeg"),
    ],
)
def test_remapping_the_base_topic_remaps_its_transports(graph: Graph, transport: str, rules: list[str], topic: str) -> None:
    arguments = ["--ros-args", *(word for rule in rules for word in ("-r", rule))]
    graph.depth_node(SlantedWall(), image_transport=transport, cli_args=arguments)
    wait_until(lambda: graph.client.count_subscribers(topic) == 1, f"the node's subscription of {topic}")


def test_normals_are_those_of_the_depth(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), outputs=["depth", "normals", "normals_preview"])
    depths, normals = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(Image, f"{NODE}/normals")
    previews = graph.listen(Image, f"{NODE}/normals/preview")
    image, calibration = image_message(96, 128), info_message(96, 128)
    send_with_info(graph, image, calibration)
    wait_until(lambda: depths and normals and previews, "depth and normals")
    (depth,), (message,), (preview,) = depths, normals, previews
    assert (message.encoding, message.height, message.width, message.step) == ("32FC3", 96, 128, 128 * 12)
    assert message.header == preview.header == image.header
    camera = camera_from_info(calibration, 128, 96)
    assert camera is not None
    found = np.frombuffer(message.data, np.float32).reshape(96, 128, 3)
    expected = normals_of(torch.from_numpy(pixels_of(depth).copy()), camera, upsampled_from=(12, 16)).numpy()
    np.testing.assert_array_equal(found, expected.transpose(1, 2, 0))
    assert (preview.encoding, preview.step) == ("rgb8", 128 * 3)
    np.testing.assert_array_equal(pixels_of(preview), colorize_normals(expected))


def test_normals_are_the_refiner_s_where_it_gave_some(graph: Graph, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Urgt()
    torch.nn.init.normal_(network.head.last.weight, std=0.3)
    path = tmp_path / "urgt.safetensors"
    save_tensors(path, network.state_dict(), {KIND: "urgt", "network": "{}"})
    made = list[Retrofit]()

    def load(settings: Settings) -> Retrofit:
        made.append(Retrofit(SlantedWall(), load_refiner(settings.refiner, torch.device("cpu")), settings.budget))
        return made[-1]

    graph.depth_node(load=load, refiner=str(path), outputs=["depth", "normals", "normals_preview"])
    normals, previews = graph.listen(Image, f"{NODE}/normals"), graph.listen(Image, f"{NODE}/normals/preview")
    image, calibration = image_message(96, 128), info_message(96, 128)
    send_with_info(graph, image, calibration)
    wait_until(lambda: normals and previews, "normals")
    result = made[-1](Frame(pixels_of(image), camera=camera_from_info(calibration, 128, 96)))
    found = torch.from_numpy(np.frombuffer(normals[0].data, np.float32).reshape(96, 128, 3).copy()).permute(2, 0, 1)
    assert result.refined_normals is not None
    at_pixels = found.flatten(1)[:, result.selection.indices]
    assert result.refined_pixels > 1000
    torch.testing.assert_close(at_pixels, result.refined_normals, rtol=0, atol=1e-6)
    plain = surface_normals(replace(result, refined_normals=None))
    others = ~result.selection.mask().flatten()
    torch.testing.assert_close(found.flatten(1)[:, others], plain.flatten(1)[:, others], rtol=0, atol=1e-6)
    assert float((at_pixels - plain.flatten(1)[:, result.selection.indices]).norm(dim=0).mean()) > 0.1
    np.testing.assert_array_equal(pixels_of(previews[0]), colorize_normals(found.numpy()))


def test_without_a_camera_there_are_no_normals(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), outputs=["depth", "normals", "normals_preview"])
    depths, normals = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(Image, f"{NODE}/normals")
    graph.publisher(Image, "/image").publish(image_message(96, 128))
    wait_until(lambda: depths, "depth")
    assert not normals


def test_the_size_may_change_mid_stream(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), cloud_stride=1)
    depths, clouds = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(PointCloud2, f"{NODE}/points")
    infos = graph.listen(CameraInfo, f"{NODE}/depth/camera_info")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    sizes = [(48, 64), (96, 128), (33, 44), (48, 64)]
    for number, (height, width) in enumerate(sizes, start=1):
        images.publish(image_message(height, width, stamp_s=number))
        wait_until(functools.partial(all_have, (depths, clouds, infos), number), f"answer {number}")
    assert [(m.height, m.width) for m in depths] == sizes
    assert [(m.height, m.width) for m in clouds] == sizes
    assert [(m.height, m.width) for m in infos] == sizes
    assert [m.header.stamp.sec for m in depths] == [1, 2, 3, 4]


@pytest.mark.usefixtures("often")
def test_without_listeners_nothing_is_computed_and_each_output_costs_only_its_listeners(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall, lazy=False)
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    calls = wall.calls  # the warm-up's
    repeat_until(
        lambda: images.publish(image_message()),
        lambda: reports and int(value(reports[-1], "input", "without subscribers")) >= 5,
        "five images without subscribers in the diagnostics",
    )
    assert wall.calls == calls
    assert "nobody listens" in status(reports[-1], "pipeline").message

    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    wait_until(lambda: node.count_subscribers(f"{NODE}/depth/image_rect") == 1, "the listener")
    images.publish(image_message(stamp_s=9))
    wait_until(lambda: depths, "depth")
    wait_until(lambda: value(reports[-1], "input", "processed") == "1", "the report")
    stages = " ".join(pair.key for pair in status(reports[-1], "pipeline").values)
    assert "depth p50" in stages and "coarse p50" in stages
    assert "points" not in stages and "preview" not in stages


def test_statistics_alone_are_sent_where_nothing_else_is(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    graph.publisher(Image, "/image").publish(image_message())
    wait_until(lambda: stats or graph.warnings(node), "the statistics")
    assert (stats[0].publish_ms, stats[0].processed) == (0.0, 1)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """These outputs cannot be made."""
    begin = HostOutputs.begin

    def broken(out: np.ndarray) -> None:
        raise RuntimeError("Failed to find C compiler")

    def without_them(*arguments: Any) -> dict[str, Fill]:
        return {name: broken if name in names else fill for name, fill in begin(*arguments).items()}

    monkeypatch.setattr(HostOutputs, "begin", without_them)


def test_an_output_that_fails_is_missing_alone_and_told(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "points")
    node = graph.depth_node(SlantedWall())
    depths, infos = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(CameraInfo, f"{NODE}/depth/camera_info")
    clouds, previews = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(Image, f"{NODE}/depth/preview")
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    send_with_info(graph, image_message(), info_message())
    wait_until(lambda: depths and infos and previews and stats, "all outputs but the cloud")
    assert not clouds
    assert (stats[0].received, stats[0].processed, stats[0].failed) == (1, 1, 0)
    assert [line for line in graph.warnings(node) if "points" in line] == [
        "a frame goes out without points: RuntimeError: Failed to find C compiler"
    ]
    assert node._health.frames.last_failure == "points alone: RuntimeError: Failed to find C compiler"


def test_an_output_that_fails_on_every_frame_is_a_warning_until_it_does_not(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    graph.depth_node(SlantedWall())
    depths, previews = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(Image, f"{NODE}/depth/preview")
    reports, images = graph.listen(DiagnosticArray, "/diagnostics"), graph.publisher(Image, "/image")

    def reported(level: bytes) -> Callable[[], bool]:
        return lambda: bool(depths and reports and status(reports[-1], "pipeline").level == level)

    without(monkeypatch, "preview")
    repeat_until(lambda: images.publish(image_message()), reported(DiagnosticStatus.WARN), "the warning")
    assert status(reports[-1], "pipeline").message == "frames go out without preview: RuntimeError: Failed to find C compiler"
    assert not previews
    monkeypatch.undo()
    repeat_until(lambda: images.publish(image_message()), reported(DiagnosticStatus.OK), "the end of it")
    assert previews


def test_an_output_whose_publisher_is_gone_was_not_sent(graph: Graph) -> None:
    """As where another choice is made in the middle of a frame."""

    class Gone:
        def publish(self, message: Any) -> None:
            raise InvalidHandle("destroyed")

        def get_subscription_count(self) -> int:
            return 1

        def destroy(self) -> None: ...

    outputs = Outputs(graph.client, ("depth", "selection"), lambda *arguments: Gone())
    selection = SimpleNamespace(mask=lambda: torch.ones(2, 2, dtype=torch.bool))
    fake = SimpleNamespace(depth=torch.ones(2, 2), metric=False, selection=selection)
    frame, settings = Frame(np.zeros((2, 2, 3), np.uint8)), declare(graph.client)
    sent = outputs.publish(frame, cast(DepthFrame, fake), Header(), None, settings)
    assert sent.times_ms == {} and sent.failed == {}


def test_a_frame_fails_only_where_nothing_of_it_goes_out(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "depth", "preview")
    graph.depth_node(SlantedWall())
    depths, previews = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(Image, f"{NODE}/depth/preview")
    infos, reports = graph.listen(CameraInfo, f"{NODE}/depth/camera_info"), graph.listen(DiagnosticArray, "/diagnostics")
    send_with_info(graph, image_message(), info_message())
    wait_until(lambda: reports and value(reports[-1], "input", "failed") == "1", "the failure in the diagnostics")
    assert value(reports[-1], "input", "processed") == "0"
    assert not depths and not previews and not infos, "no camera_info either, of depth that is missing"


def test_where_triton_is_the_outputs_of_a_device_are_made_there(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, cuda = Outputs(graph.client, ()), torch.device("cuda")
    assert isinstance(outputs._maker(torch.device("cpu")), HostOutputs)
    if importlib.util.find_spec("triton") is not None:
        from depth_retrofit_ros.runtime.device_outputs import DeviceOutputs

        assert isinstance(outputs._maker(torch.device("meta")), DeviceOutputs), "which stands for CUDA"
    monkeypatch.setattr(outputs_module, "has_kernels", lambda device: False)
    maker = outputs._maker(cuda)
    assert isinstance(maker, HostOutputs) and outputs._maker(cuda) is maker
    outputs.destroy()


def all_have(received: tuple[list[Any], ...], count: int) -> bool:
    return all(len(messages) == count for messages in received)


def test_confidence_arrives_and_cuts_depth_and_cloud_at_run_time(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), cloud_stride=1, outputs=["depth", "points", "depth_mm", "confidence", "confidence_8bit"])
    topics = ("image_rect", "image_rect_raw", "confidence", "confidence_8bit")
    images = [graph.listen(Image, f"{NODE}/depth/{name}") for name in topics]
    clouds = graph.listen(PointCloud2, f"{NODE}/points")
    image = image_message(96, 128)
    send_with_info(graph, image, info_message())
    wait_until(lambda: all(images) and clouds, "all outputs")
    confidence, gray = pixels_of(images[2][0]), np.frombuffer(images[3][0].data, np.uint8).reshape(96, 128)
    assert (images[2][0].encoding, images[3][0].encoding) == ("32FC1", "mono8")
    assert images[2][0].header == image.header and confidence.min() > 0 and confidence.max() < 1
    np.testing.assert_array_equal(gray, np.round(255 * confidence))
    assert np.isfinite(pixels_of(images[0][0])).all()

    least = float(np.median(confidence))
    assert node.set_parameters([Parameter("min_confidence", value=least)])[0].successful
    for received in (*images, clouds):
        received.clear()
    send_with_info(graph, image, info_message())
    wait_until(lambda: all(images) and clouds, "all outputs again")
    depth, again = pixels_of(images[0][0]), pixels_of(images[2][0])
    millimeters = np.frombuffer(images[1][0].data, np.uint16).reshape(96, 128)
    low = again < np.float32(least)
    assert low.any() and not low.all()
    np.testing.assert_array_equal(np.isnan(depth), low)
    np.testing.assert_array_equal(millimeters == 0, low)
    np.testing.assert_array_equal(np.isnan(pixels_of(clouds[0])[..., 2]), low)
