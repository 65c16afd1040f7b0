"""What goes wrong on a robot beside bad messages: the node lives, answers what it can, and says what happened."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.runtime import memory_guard
from test.ros.graph import (
    NODE,
    PATIENCE_S,
    Graph,
    KeepCoarse,
    SlantedWall,
    image_message,
    info_message,
    pixels_of,
    repeat_until,
    status,
    value,
    wait_until,
)

PIXELS = 48 * 64


def answer(images: Any, received: list[Any], **image: Any) -> Any:
    """Send one image; its answer."""
    before = len(received)
    images.publish(image_message(**image))
    wait_until(lambda: len(received) > before, f"the answer to {image}")
    return received[-1]


class Greedy(KeepCoarse):
    """A refiner that needs memory for each pixel, of which there is ``room`` for so many."""

    room = 10**9

    def refine(self, given: RefinerInput) -> Any:
        if given.pixels.count > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().refine(given)


def test_out_of_memory_lowers_the_budget_then_gives_coarse_depth_then_fails_frames_and_never_ends(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_guard, "PATIENCE_S", 1e9)  # no attempt to rise again in this test
    wall, refiner = SlantedWall(), Greedy()
    node = graph.depth_node(start=False, load=lambda settings: Retrofit(wall, refiner, settings.budget))
    assert node.autostart()
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")

    answer(images, stats)
    refiner.room = round(0.03 * PIXELS)
    assert answer(images, stats).budget == pytest.approx(0.025)
    assert stats[-1].refined_pixels == pytest.approx(0.025 * PIXELS, abs=1)
    assert any("memory ran out" in line and "0.025" in line for line in graph.warnings(node))
    wait_until(lambda: reports and "memory is short" in status(reports[-1], "pipeline").message, "the report")
    assert (value(reports[-1], "pipeline", "budget"), value(reports[-1], "pipeline", "budget asked for")) == ("0.025", "0.1")

    refiner.room = 0
    assert (answer(images, stats).budget, stats[-1].refined_pixels) == (0.0, 0)
    wait_until(lambda: len(depths) == 3, "coarse depth")
    assert np.isfinite(pixels_of(depths[-1])).all()

    wall.error = MemoryError("no memory for the coarse model either")
    images.publish(image_message())
    wait_until(lambda: any("no memory for the coarse model" in line for line in graph.warnings(node)), "the error")
    wall.error = None
    assert answer(images, stats).failed == 1
    assert (stats[-1].received, stats[-1].processed, stats[-1].dropped) == (5, 4, 0)


class Broken(SlantedWall):
    """Answers with what ``damage`` makes of its prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: dict[str, Any] = {}

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        return dataclasses.replace(super().predict(image, camera), **self.damaged)


def test_nan_in_features_costs_no_pixel_and_nan_in_depth_is_unknown_and_told(graph: Graph) -> None:
    """With the shipped refiner, which sees both."""
    coarse = Broken()
    sound = coarse.predict(torch.zeros(48, 64, 3, dtype=torch.uint8), None)
    refiner = load_sparse_refiner(None, torch.device("cpu"))
    node = graph.depth_node(start=False, load=lambda settings: Retrofit(coarse, refiner, settings.budget))
    assert node.autostart()
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")

    some, hole = sound.features.clone(), sound.depth.clone()
    some[2:4, 3:6] = torch.nan
    hole[4:6, 4:6] = torch.nan
    for features in (some, torch.full_like(some, torch.nan)):
        coarse.damaged = {"features": features}
        assert np.isfinite(pixels_of(answer(images, depths))).all()
    assert stats[-1].refined_pixels == round(0.1 * PIXELS)

    coarse.damaged = {"depth": hole}
    unknown = ~np.isfinite(pixels_of(answer(images, depths)))
    assert unknown[18:22, 18:22].all(), "what the model does not know is not invented"
    assert unknown.mean() < 0.5 and not graph.warnings(node)
    coarse.damaged = {}
    assert np.isfinite(pixels_of(answer(images, depths))).all()

    coarse.damaged = {"depth": torch.full_like(hole, torch.nan)}
    assert np.isnan(pixels_of(answer(images, depths))).all()
    wait_until(lambda: any("no depth at all" in line for line in graph.warnings(node)), "the line about it")
    wait_until(lambda: reports and status(reports[-1], "model").level == DiagnosticStatus.ERROR, "the error in the diagnostics")
    coarse.damaged = {}
    assert np.isfinite(pixels_of(answer(images, depths))).all()


def test_stamps_that_jump_back_are_answered_and_told_once(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    for stamp_s in (100, 101, 40, 41, 101, 40):
        assert answer(images, depths, stamp_s=stamp_s).header.stamp.sec == stamp_s
    wait_until(lambda: graph.warnings(node), "the line about it")
    (line,) = graph.warnings(node)
    assert "jumped back by 61 s" in line


def test_a_new_frame_id_is_passed_on_and_told_once(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    hostile = "right\n[FATAL] [1.0] [depth_retrofit]: a line of somebody else" + 10_000 * "x"
    for frame_id in ("left", "left", "right", hostile):
        assert answer(images, depths, frame_id=frame_id).header.frame_id == frame_id
    wait_until(lambda: len(graph.warnings(node)) == 5, "the lines about it")
    first, second = (line for line in graph.warnings(node) if line.startswith("frame_id of the images changed"))
    assert "'left'" in first and "'right'" in first
    of_info = [line for line in graph.warnings(node) if line.startswith("camera_info is in frame 'camera_optical'")]
    assert len(of_info) == 3 and all(len(line) < 300 and "\n" not in line for line in (second, *of_info))


def test_a_camera_info_that_is_lost_is_told_and_the_last_one_is_used(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    clouds, reports = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(DiagnosticArray, "/diagnostics")
    infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
    infos.publish(info_message())
    answer(images, clouds)
    graph.client.destroy_publisher(infos)

    def calibration() -> Any:
        return status(reports[-1], "calibration")

    wait_until(lambda: reports and "no longer published" in calibration().message, "the report")
    assert calibration().level == DiagnosticStatus.WARN
    answer(images, clouds, stamp_s=101)
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    repeat_until(
        lambda: images.publish(image_message(stamp_s=102)), lambda: calibration().level == DiagnosticStatus.OK, "its return"
    )
    assert not graph.warnings(node)


def test_a_camera_that_starts_again_is_heard_again(graph: Graph) -> None:
    graph.depth_node(SlantedWall())
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    for life in (1, 2, 3):
        images = graph.publisher(Image, "/image")
        assert answer(images, stats, stamp_s=life).received == life
        graph.client.destroy_publisher(images)
        wait_until(lambda: graph.client.count_publishers("/image") == 0, "the camera to go")


SLOW_SUBSCRIBER = """
import sys, rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
rclpy.init()
node = Node("slow_subscriber")
node.create_subscription(Image, sys.argv[1], lambda message: print("received", flush=True), QoSProfile(depth=1))
rclpy.spin(node)
"""


@contextmanager
def other_process(log: Path, code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_subscriber_that_stands_still_does_not_hold_up_the_others(graph: Graph, tmp_path: Path) -> None:
    graph.depth_node(SlantedWall())
    depths, stats = graph.listen(Image, f"{NODE}/depth/image_rect"), graph.listen(FrameStats, f"{NODE}/frame_stats")
    images = graph.publisher(Image, "/image")
    log = tmp_path / "log"
    with other_process(log, SLOW_SUBSCRIBER, f"{NODE}/depth/image_rect") as slow:
        image = image_message(480, 640)
        repeat_until(lambda: images.publish(image), lambda: "received" in log.read_text(), "the other process to receive")
        slow.send_signal(signal.SIGSTOP)
        first = len(stats)
        for number in range(20):
            answer(images, depths, height=480, width=640, stamp_s=number)
        wait_until(lambda: len(stats) >= first + 20, "their statistics")
        # A writer that waits for the acknowledgements of a reliable reader blocks for 100 ms each time, once its history is full.
        # Each time: so the fastest of the last ones tells, which a busy machine does not slow down as well.
        assert min(stat.publish_ms for stat in stats[first + 10 :]) < 80
        assert stats[-1].received - stats[-1].processed - stats[-1].dropped in (0, 1), "the next one may be there already"


def test_a_storm_of_parameters_is_weathered(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), min_budget=1.0)
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    images = graph.publisher(Image, "/image")
    storm: list[tuple[str, Any, bool]] = []
    for number in range(60):
        storm += [
            ("budget", (number % 10) / 20, True),
            ("budget", 2.0, False),
            ("cloud_stride", 1 + number % 5, True),
            ("outputs", ["depth"] if number % 2 else ["points", "depth_mm"], True),
            ("target_fps", 10.0 - number / 10, True),
            ("model", f"model-{number}", False),
        ]
    futures = []
    for number, (name, setting, _) in enumerate(storm):
        request = SetParameters.Request(parameters=[Parameter(name, value=setting).to_parameter_msg()])
        futures.append(graph.call_async(SetParameters, f"{NODE}/set_parameters", request))
        if number % 10 == 0:
            images.publish(image_message(stamp_s=number))
    wait_until(lambda: all(future.done() for future in futures), "every answer")
    accepted = [future.result().results[0].successful for future in futures]
    assert accepted == [expected for _, _, expected in storm]
    now = node.settings
    assert (now.budget, now.cloud_stride, now.outputs, now.model) == (0.45, 5, ("depth",), "auto")
    assert now.target_fps == pytest.approx(4.1)
    repeat_until(
        lambda: images.publish(image_message(stamp_s=9999)), lambda: stats and stats[-1].header.stamp.sec == 9999, "an answer"
    )
    assert stats[-1].budget == pytest.approx(0.45)
    assert stats[-1].failed == 0
    busy = "target_fps"  # a machine that is may not hold some of those asked for, and is right to say so
    assert not [line for line in graph.warnings(node) if "camera_info" not in line and not line.startswith(busy)]


SLOW_NODE = """
import threading
from depth_retrofit_ros.ros.node import main
from depth_retrofit_ros.ros.node import node
from depth_retrofit_ros.runtime.slot import LatestSlot

ending, close = threading.Event(), LatestSlot.close

def close_and_tell(slot):
    close(slot)
    ending.set()

LatestSlot.close = close_and_tell

def load(settings):
    method = node.load_retrofit(settings)
    predict = method.coarse.predict

    def slow(image, camera, hints):
        if image.shape[0] == 48:  # not the self-check's
            print("in inference", flush=True)
            ending.wait()  # for the signal, and what it does to the worker
            print("inference is over", flush=True)
        return predict(image, camera, hints)

    method.coarse.predict = slow
    return method

node.DepthNode.__init__.__kwdefaults__["load"] = load
main.main([])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_inference_ends_the_node_in_order(graph: Graph, tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    with other_process(log, SLOW_NODE) as process:
        graph.listen(Image, f"{NODE}/depth/image_rect")
        images = graph.publisher(Image, "/image")
        repeat_until(lambda: images.publish(image_message()), lambda: "in inference" in log.read_text(), "an inference")
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    text = log.read_text()
    assert text.count("in inference") == text.count("inference is over") == 1, "the image in work is finished, no other begun"
    assert "Traceback" not in text and "terminate called" not in text
