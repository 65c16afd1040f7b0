"""Transitions through the services that `ros2 lifecycle` uses, and parameters through those of `ros2 param`."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

import depth_retrofit_ros.ros
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros import parameters
from depth_retrofit_ros.ros.node import DepthNode, load_retrofit
from depth_retrofit_ros.ros.parameters import PARAMETERS, Settings

from .graph import NODE, Graph, SlantedWall, image_message, info_message, repeat_until, small_retrofit, status, value, wait_until


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
    graph.depth_node(wall)
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


def test_the_table_is_what_is_declared(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), start=False)
    request = DescribeParameters.Request(names=[row.name for row in PARAMETERS])
    descriptors = graph.call(DescribeParameters, f"{NODE}/describe_parameters", request).descriptors
    for row, descriptor in zip(PARAMETERS, descriptors, strict=True):
        assert descriptor.description == row.description
        assert descriptor.read_only == (row.until is None)
        spans = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert [(span.from_value, span.to_value) for span in spans] == ([row.span] if row.span else [])


def test_every_parameter_is_a_setting_and_every_setting_is_read() -> None:
    assert [row.name for row in PARAMETERS] == [field.name for field in dataclasses.fields(Settings)]
    read = set()
    for file in Path(depth_retrofit_ros.ros.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] in ("settings", "_settings"):
                read.add(node.attr)
    assert read >= {row.name for row in PARAMETERS}


def test_live_parameters_take_effect_on_the_next_frame(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), budget=0.2, cloud_stride=1)
    stats, clouds = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(PointCloud2, f"{NODE}/points")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    images.publish(image_message())
    wait_until(lambda: stats and clouds, "the first answer")
    assert graph.set_parameter(node, "budget", 0.05).successful
    assert graph.set_parameter(node, "cloud_stride", 4).successful
    images.publish(image_message())
    wait_until(lambda: len(stats) == len(clouds) == 2, "the second answer")
    assert [stat.budget for stat in stats] == pytest.approx([0.2, 0.05])
    assert [stat.refined_pixels for stat in stats] == pytest.approx([0.2 * 48 * 64, 0.05 * 48 * 64], abs=1)
    assert [(cloud.height, cloud.width) for cloud in clouds] == [(48, 64), (12, 16)]


def test_the_rate_limit_holds_and_can_be_changed_live(graph: Graph) -> None:
    wall = SlantedWall()
    node = graph.depth_node(wall, rate=0.01)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")
    repeat_until(
        lambda: images.publish(image_message()), lambda: reports and int(value(reports[-1], "input", "dropped")) >= 5, "five drops"
    )
    assert value(reports[-1], "input", "processed") == "1", "the first at once, the second in 100 s"
    assert value(reports[-1], "pipeline", "rate limit [Hz]") == "0.01"
    assert graph.set_parameter(node, "rate", 0.0).successful
    calls = wall.calls
    repeat_until(lambda: images.publish(image_message()), lambda: wall.calls > calls + 3, "frames at full rate")


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("budget", 1.5, "range"),
        ("budget", -0.1, "range"),
        ("budget", float("nan"), "range"),
        ("cloud_stride", 0, "range"),
        ("rate", -1.0, "range"),
        ("budget", "all of it", "type"),
        ("model", "meter-nyu", "deactivate and clean up the node first"),
        ("image_transport", "compressed", "deactivate the node first"),
        ("autostart", False, "read-only"),
    ],
)
def test_other_changes_are_refused_with_the_reason_and_change_nothing(graph: Graph, name: str, wrong: Any, told: str) -> None:
    node = graph.depth_node(SlantedWall())
    before = node.settings
    result = graph.set_parameter(node, name, wrong)
    assert not result.successful
    assert told in result.reason
    assert node.settings == before
    assert node.get_parameter(name).value == getattr(before, name)


def test_values_that_only_the_stage_forbids_are_accepted_later(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    node.trigger_deactivate()
    assert graph.set_parameter(node, "image_transport", "compressed").successful
    assert "must be one of" in graph.set_parameter(node, "image_transport", "theora").reason
    assert "clean up the node first" in graph.set_parameter(node, "model", "meter-nyu").reason
    node.trigger_activate()
    wait_until(lambda: node.count_subscribers("/image/compressed") == 1, "the other subscription")


@pytest.mark.parametrize(
    ("name", "wrong"), [("budget", 2.0), ("image_transport", "theora"), ("cloud_stride", 0), ("budget", "much")]
)
def test_a_wrong_start_value_is_refused(graph: Graph, name: str, wrong: Any) -> None:
    with pytest.raises(ParameterException, match=name):
        DepthNode(context=graph.context, parameter_overrides=[Parameter(name, value=wrong)])


def test_refusals_speak_of_stages_only_where_they_matter() -> None:
    assert parameters.refusal([("use_sim_time", True), ("qos_overrides./x", 1)], "active") is None
    assert parameters.refusal([("model", "x")], "unconfigured") is None
    assert parameters.refusal([("budget", 0.5), ("model", "x")], "active") is not None
