"""Transitions through the services that `ros2 lifecycle` uses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.node.node import load_retrofit
from depth_retrofit_ros.ros.node.parameters import PARAMETERS, Settings
from test.ros.graph import (
    NODE,
    PATIENCE_S,
    Graph,
    SlantedWall,
    image_message,
    info_message,
    repeat_until,
    small_retrofit,
    status,
    wait_until,
)


def change(graph: Graph, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(graph.call(ChangeState, f"{NODE}/change_state", request).success)


def state(graph: Graph) -> int:
    return int(graph.call(GetState, f"{NODE}/get_state", GetState.Request()).current_state.id)


def test_the_whole_life_twice(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall, start=False)
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    stats: list[FrameStats] = []
    graph.client.create_subscription(FrameStats, f"{NODE}/frame_stats", stats.append, 10)
    for life in (1, 2):
        assert change(graph, Transition.TRANSITION_CONFIGURE)
        assert state(graph) == State.PRIMARY_STATE_INACTIVE
        assert node.count_subscribers("/image") == 0, "subscribed in activate only"
        for session in (1, 2):
            assert change(graph, Transition.TRANSITION_ACTIVATE)
            stats.clear()
            infos, images = graph.publisher(CameraInfo, "/camera_info"), graph.publisher(Image, "/image")
            infos.publish(info_message())
            images.publish(image_message(stamp_s=10 * life + session))
            wait_until(lambda: stats, "an answer")
            assert stats[0].header.stamp.sec == 10 * life + session
            assert (stats[0].received, stats[0].processed) == (1, 1), "counted since activation"
            assert change(graph, Transition.TRANSITION_DEACTIVATE)
            wait_until(lambda: graph.client.count_subscribers("/image") == 0, "the subscription to end")
            graph.client.destroy_publisher(images)
            graph.client.destroy_publisher(infos)
        assert change(graph, Transition.TRANSITION_CLEANUP)
        wait_until(lambda: graph.client.count_publishers(f"{NODE}/depth/image_rect") == 0, "the publishers to go")
    assert change(graph, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert state(graph) == State.PRIMARY_STATE_FINALIZED
    assert not graph.warnings(node)


def test_deactivating_finishes_the_image_in_work(graph: Graph) -> None:
    wall = SlantedWall()
    graph.depth_node(wall, patience_s=PATIENCE_S)
    depths = graph.listen(Image, f"{NODE}/depth/image_rect")
    images = graph.publisher(Image, "/image")
    wall.hold.clear()
    calls = wall.calls
    repeat_until(lambda: images.publish(image_message()), lambda: wall.calls > calls, "the model to be busy")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    future = graph.call_async(ChangeState, f"{NODE}/change_state", request)
    wait_until(lambda: graph.client.count_subscribers("/image") == 0, "the subscription to end")
    assert not future.done()
    wall.hold.set()
    wait_until(future.done, "the transition")
    assert future.result().success
    wait_until(lambda: len(depths) == 1, "the depth")


@pytest.fixture
def corrupt(tmp_path: Path) -> Path:
    path = tmp_path / "compact.safetensors"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    return path


@pytest.mark.parametrize("case", ["unknown model", "missing weights", "corrupt weights", "missing refiner", "unknown device"])
def test_configuring_fails_with_one_actionable_line_and_can_be_tried_again(graph: Graph, corrupt: Path, case: str) -> None:
    wrong: dict[str, str] = {
        "unknown model": {"model": "no-such-model"},
        "missing weights": {"weights": "/nowhere/compact.safetensors"},
        "corrupt weights": {"weights": str(corrupt)},
        "missing refiner": {"refiner": "/nowhere/refiner.safetensors"},
        "unknown device": {"device": "tpu"},
    }[case]
    defaults: dict[str, Any] = {row.name: row.default for row in PARAMETERS}
    sound = Settings(**defaults)
    node = graph.depth_node(
        start=False, load=lambda now: small_retrofit(SlantedWall(), now) if now == sound else load_retrofit(now), **wrong
    )
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    assert not change(graph, Transition.TRANSITION_CONFIGURE)
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    (line,) = graph.warnings(node)
    assert line.startswith("cannot configure: ") and "\n" not in line
    assert next(iter(wrong.values())) in line
    wait_until(lambda: reports and status(reports[-1], "model").level == DiagnosticStatus.ERROR, "the error in the diagnostics")
    assert status(reports[-1], "model").message in line

    for name in wrong:
        assert graph.set_parameter(node, name, defaults[name]).successful
    assert change(graph, Transition.TRANSITION_CONFIGURE)
    assert state(graph) == State.PRIMARY_STATE_INACTIVE


def test_a_model_that_gives_no_depth_does_not_configure(graph: Graph) -> None:
    """As broken weights or an overflow in half precision do: they load, and answer NaN."""

    class Blank(SlantedWall):
        def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
            return dataclasses.replace(super().predict(image, camera), depth=torch.full((12, 16), torch.nan))

    node = graph.depth_node(Blank(), start=False)
    assert not change(graph, Transition.TRANSITION_CONFIGURE)
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    (line,) = graph.warnings(node)
    assert "self-check of slanted-wall on cpu failed: 100 %" in line
    assert not graph.client.count_publishers(f"{NODE}/depth/image_rect")
