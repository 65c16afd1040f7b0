"""replay.launch.py: the bag starts when the node is ready, and its end ends everything. It runs where `launch` is installed."""

from __future__ import annotations

import ast
from types import SimpleNamespace
from typing import Any

import pytest

from test.paths import ROOT
from test.ros.graph import NODE, Graph, SlantedWall
from test.scripts import load_script

FILE = ROOT / "launch" / "replay.launch.py"
TREE = ast.parse(FILE.read_text())


def constant(name: str) -> Any:
    (value,) = (
        statement.value
        for statement in TREE.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name
    )
    return ast.literal_eval(value)


def test_its_arguments_are_described() -> None:
    calls = [node for node in ast.walk(TREE) if isinstance(node, ast.Call) and ast.unparse(node.func) == "DeclareLaunchArgument"]
    names = {ast.literal_eval(call.args[0]) for call in calls}
    assert names == {"bag", "play_rate", "record", "linger", "namespace", "name"}
    assert all("description" in {keyword.arg for keyword in call.keywords} for call in calls)


def test_the_node_says_the_line_that_starts_the_bag_and_publishes_what_is_recorded(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), start=False)
    said: list[str] = []
    node.get_logger().info = said.append
    assert node.trigger_configure().name == "SUCCESS"
    assert not any(constant("READY") in line for line in said)
    assert node.trigger_activate().name == "SUCCESS"
    assert any(line.startswith(constant("READY")) for line in said)
    published = {publisher.topic_name for publisher in node.publishers}
    assert {f"{NODE}/{topic}" for topic in constant("RECORDED")} <= published


@pytest.fixture
def module() -> Any:
    pytest.importorskip("launch_ros", reason="`launch` is not available as a wheel: this runs where a ROS 2 is installed")
    return load_script(FILE)


def visited(module: Any, given: dict[str, str]) -> list[Any]:
    """What the launch file starts and listens to."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    context, entities = LaunchContext(), []
    context.launch_configurations.update(given)
    for entity in module.generate_launch_description().entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
        elif isinstance(entity, OpaqueFunction):
            entities = entity.visit(context)
    return entities


def words(process: Any) -> list[str]:
    from launch import LaunchContext
    from launch.utilities import perform_substitutions

    return [perform_substitutions(LaunchContext(), part) for part in process.cmd]


def test_the_bag_starts_once_when_the_node_is_ready(module: Any) -> None:
    from launch import LaunchContext

    ready, *_ = visited(module, {"bag": "/data/bag", "play_rate": "0.5"})

    def say(line: str) -> Any:
        event = SimpleNamespace(text=f"[INFO] [1.0] [depth_retrofit]: {line}\n".encode(), from_stdout=False, from_stderr=True)
        return ready.event_handler.handle(event, LaunchContext())

    assert say("compact is ready on cpu") == []
    (player,) = say("waiting for /image and /camera_info")
    assert words(player) == ["ros2", "bag", "play", "/data/bag", "--clock", "--delay", "1.0", "--rate", "0.5"]
    assert say("waiting for /image and /camera_info") == []


def test_the_outputs_are_recorded_where_asked_for(module: Any) -> None:
    given = {"bag": "/data/bag", "record": "/data/out", "namespace": "front", "name": "depth"}
    *_, recorder = visited(module, given)
    told = words(recorder)
    assert told[:6] == ["ros2", "bag", "record", "--use-sim-time", "--output", "/data/out"]
    assert told[6:] == [*(f"/front/depth/{topic}" for topic in constant("RECORDED")), "/diagnostics"]


def test_everybody_has_the_bag_s_clock(module: Any) -> None:
    from launch.actions import IncludeLaunchDescription

    (included,) = (
        entity for entity in module.generate_launch_description().entities if isinstance(entity, IncludeLaunchDescription)
    )
    assert dict(included.launch_arguments) == {"use_sim_time": "true", "respawn": "false"}


def test_the_node_s_end_ends_everything(module: Any) -> None:
    from launch import LaunchContext
    from launch.actions import ExecuteProcess, Shutdown
    from launch.events.process import ProcessExited
    from launch_ros.actions import Node

    *_, on_node_exit = visited(module, {"bag": "/data/bag"})
    handler = on_node_exit.event_handler

    def exited(action: Any) -> Any:
        return ProcessExited(action=action, name="any", cmd=["any"], cwd=None, env=None, pid=1, returncode=1)

    depth_node = exited(Node(package="depth_retrofit_ros", executable="depth_node"))
    assert handler.matches(depth_node)
    assert not handler.matches(exited(Node(package="rviz2", executable="rviz2")))
    assert not handler.matches(exited(ExecuteProcess(cmd=["ros2", "bag", "record"])))
    (action,) = handler.handle(depth_node, LaunchContext())
    assert isinstance(action, Shutdown)
