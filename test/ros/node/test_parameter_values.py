"""Values from YAML, the command line, `ros2 param set` and other callbacks: taken as they are meant, or refused with one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy._rclpy_pybind11 import RCLError
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.ros.node import main as ros_main
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.ros.node.parameters import RENAMED, without_a_range
from test.ros.graph import NODE, Graph, SlantedWall, wait_until


def from_yaml(graph: Graph, folder: Path, line: str) -> DepthNode:
    file = folder / "parameters.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    {line}\n")
    node: DepthNode = graph.depth_node(SlantedWall(), start=False, cli_args=["--ros-args", "--params-file", str(file)])
    return node


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "outputs: []",
            "outputs must be some of depth, depth_mm, points, preview, selection, normals, normals_preview, depth_compressed, "
            "depth_mm_compressed, preview_compressed, disparity, scan, confidence, confidence_8bit, not an empty list",
        ),
        ("sparse_points_pose: []", "sparse_points_pose must be x y z [m] and a unit quaternion qx qy qz qw, not an empty list"),
        ("sparse_points_pose: [0, 0, 0]", "sparse_points_pose must be x y z [m] and a unit quaternion"),
        ("sparse_points_pose: [a, b]", "sparse_points_pose must be a list of numbers"),
        ("outputs: depth", "outputs must be a list of words"),
        ("outputs: [1, 2]", "outputs must be a list of words"),
        ("budget: true", "budget must be a number, 0 to 1, not True"),
        ("budget: 5", "budget must be 0 to 1, not 5"),
        ("cloud_stride: 2.0", "cloud_stride must be an integer, 1 to 64, not 2.0"),
        ("model: 5", "model must be text, not 5"),
        ("autostart: 1", "autostart must be true or false, not 1"),
        ("least_budget: 0.05", "least_budget is called min_budget now: set that"),
    ],
)
def test_a_yaml_value_of_another_kind_is_one_line(graph: Graph, tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(SetupError) as raised:
        from_yaml(graph, tmp_path, line)
    assert str(raised.value).startswith(told) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("budget: 1", {"budget": 1.0}),
        ("target_fps: 5", {"target_fps": 5.0}),
        ("sparse_points_pose: [1, 2, 3, 0, 0, 0, 1]", {"sparse_points_pose": (1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0)}),
    ],
)
def test_an_integer_in_yaml_is_the_double_that_is_meant(graph: Graph, tmp_path: Path, line: str, wanted: dict[str, Any]) -> None:
    node = from_yaml(graph, tmp_path, line)
    for name, value in wanted.items():
        assert getattr(node.settings, name) == value
        assert type(node.get_parameter(name).value) is not int


def test_an_integer_set_live_is_the_double_that_is_meant(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    assert graph.set_parameter(node, "target_fps", 5).successful
    assert graph.set_parameter(node, "budget", 0).successful
    assert (node.settings.target_fps, node.settings.budget) == (5.0, 0.0)
    assert node.get_parameter("target_fps").type_ == Parameter.Type.DOUBLE
    assert not graph.set_parameter(node, "target_fps", -5).successful
    node.trigger_deactivate()
    assert graph.set_parameter(node, "sparse_points_pose", [0, 0, 1, 0, 0, 0, 1]).successful
    assert node.settings.sparse_points_pose == (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_refused_with_the_new_one(graph: Graph, old: str) -> None:
    node = graph.depth_node(SlantedWall(), start=False)
    result = graph.set_parameter(node, old, 0.1)
    assert not result.successful and result.reason == f"{old} is called {RENAMED[old]} now: set that"
    with pytest.raises(SetupError, match=RENAMED[old]):
        DepthNode(context=graph.context, parameter_overrides=[Parameter(old, value=0.1)])


def test_an_old_name_on_the_command_line_ends_the_start_with_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert ros_main.run_node(ros_args=["--ros-args", "-p", "least_budget:=0.1"]) == ros_main.MISCONFIGURED
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert "min_budget" in line
    assert not rclpy.ok(), "another node may be started in this process"


def test_what_another_callback_refuses_is_not_applied(graph: Graph) -> None:
    """Such as that of whoever extends the node."""
    node = graph.depth_node(SlantedWall(), outputs=["depth"])
    wait_until(lambda: graph.client.count_publishers(f"{NODE}/depth/image_rect"), "the publisher")
    asked: list[str] = []

    def refuse(changes: list[Parameter]) -> SetParametersResult:
        asked.extend(change.name for change in changes)
        return SetParametersResult(successful=False, reason="not on my watch")

    node.remove_on_set_parameters_callback(node._on_set_parameters)
    node.add_on_set_parameters_callback(refuse)
    node.add_on_set_parameters_callback(node._on_set_parameters)  # rclpy asks the last one first
    before, topics = node.settings, {publisher.topic_name for publisher in node.publishers}
    for name, value in (("outputs", ["points"]), ("budget", 0.5), ("target_fps", 3.0)):
        result = graph.set_parameter(node, name, value)
        assert not result.successful and result.reason == "not on my watch"
    assert asked == ["outputs", "budget", "target_fps"]
    assert node.settings == before and {publisher.topic_name for publisher in node.publishers} == topics
    node.remove_on_set_parameters_callback(refuse)
    assert graph.set_parameter(node, "budget", 0.5).successful
    assert node.settings.budget == 0.5


@pytest.mark.parametrize("kind", ["BYTE_ARRAY", "BOOL_ARRAY", "INTEGER_ARRAY", "DOUBLE_ARRAY", "STRING_ARRAY"])
@pytest.mark.parametrize("name", ["outputs", "sparse_points_pose"])
def test_an_empty_list_has_no_type_and_is_refused_as_what_it_is(graph: Graph, name: str, kind: str) -> None:
    node = graph.depth_node(SlantedWall(), start=False)
    result = node.set_parameters([Parameter(name, Parameter.Type[kind], [])])[0]
    assert not result.successful and result.reason.startswith(f"{name} must be ") and result.reason.endswith("not an empty list")


@pytest.mark.parametrize("error", [RCLError("no memory for a publisher"), ValueError("what a plugin says"), OSError("no disk")])
def test_whatever_keeps_a_change_from_being_made_it_is_taken_back_and_answered(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    node = graph.depth_node(SlantedWall(), outputs=["depth"])
    create = node.create_publisher

    def broken(message_type: type, topic: str, *arguments: Any, **options: Any) -> Any:
        if topic.endswith("points"):
            raise error
        return create(message_type, topic, *arguments, **options)

    monkeypatch.setattr(node, "create_publisher", broken)
    before, topics = node.settings, {publisher.topic_name for publisher in node.publishers}
    changes = [Parameter("budget", value=0.5), Parameter("outputs", value=["preview", "points"])]
    result = node.set_parameters_atomically(changes)
    assert not result.successful and str(error) in result.reason and "\n" not in result.reason
    assert node.settings == before and list(node.get_parameter("outputs").value) == ["depth"]
    assert {publisher.topic_name for publisher in node.publishers} == topics, "the one that could be made is gone"
    if isinstance(error, RCLError):
        assert f"qos_overrides.{NODE}/points" in result.reason
    monkeypatch.undo()
    assert node.set_parameters_atomically(changes).successful


def test_what_cannot_be_applied_is_refused_and_taken_back(graph: Graph) -> None:
    override = f"qos_overrides.{NODE}/points.publisher.reliability:=sometimes"
    node = graph.depth_node(SlantedWall(), outputs=["depth"], cli_args=["--ros-args", "-p", override])
    changes = [Parameter("budget", value=0.5), Parameter("outputs", value=["points"])]
    result = node.set_parameters_atomically(changes)
    assert not result.successful and "sometimes" in result.reason
    assert (node.settings.budget, node.settings.outputs) == (0.1, ("depth",))
    assert (node.get_parameter("budget").value, list(node.get_parameter("outputs").value)) == (0.1, ["depth"])
    assert graph.listen(Image, f"{NODE}/depth/image_rect") == [], "still offered"


@pytest.mark.parametrize(
    ("output", "limits", "told"),
    [
        (
            "scan",
            {"scan_range_min": 5.0, "scan_range_max": 5.0},
            "scan_range_min 5 is not below scan_range_max 5: the scan",
        ),
        ("points", {"range_min": 3.0, "range_max": 2.0}, "range_min 3 is not below range_max 2: the cloud is not published, lower"),
    ],
)
def test_limits_with_nothing_between_them_are_told_once_in_the_log(graph: Graph, output: str, limits: Any, told: str) -> None:
    """And taken: a file of parameters is loaded one by one. Nobody has to listen to the output for it."""
    node = graph.depth_node(SlantedWall(), start=False, outputs=["depth", output])
    for name, value in limits.items():
        assert graph.set_parameter(node, name, value).successful
    for _ in range(3):
        node._check_graph()
    assert [line.startswith(told) for line in graph.warnings(node)] == [True]
    assert graph.set_parameter(node, next(iter(limits)), 1.0).successful
    node._check_graph()
    assert without_a_range(node.settings) is None
    assert graph.set_parameter(node, "outputs", ["depth"]).successful
    assert without_a_range(replace(node.settings, **limits)) is None, "of an output that is not offered"
