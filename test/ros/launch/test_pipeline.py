"""The launch, parameter and rviz files agree with the node; the launch file itself runs where `launch` is installed."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from depth_retrofit_ros.ros.node.main import FAILED, MISCONFIGURED
from depth_retrofit_ros.ros.node.parameters import OUTPUTS, PARAMETERS
from depth_retrofit_ros.ros.transport.dds_profile import PROFILE_VARIABLES
from test.paths import ROOT
from test.ros.graph import NODE, Graph, SlantedWall, wait_until
from test.scripts import load_script

LAUNCH_FILE = ROOT / "launch" / "pipeline.launch.py"


def test_the_node_starts_from_the_parameter_file(graph: Graph) -> None:
    arguments = ["--ros-args", "--params-file", str(ROOT / "config" / "pipeline.yaml"), "-p", "budget:=0.3"]
    node = graph.depth_node(SlantedWall(), start=False, cli_args=arguments)
    assert (node.settings.budget, node.settings.cloud_stride) == (0.3, 2)


def test_every_parameter_has_a_launch_argument() -> None:
    tree = ast.parse(LAUNCH_FILE.read_text())
    (table,) = (
        statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "PARAMETERS"
    )
    assert isinstance(table, ast.Dict)
    mapping = {ast.literal_eval(key): ast.literal_eval(value.elts[0]) for key, value in zip(table.keys, table.values, strict=True)}  # type: ignore[arg-type, attr-defined]
    assert set(mapping.values()) == {row.name for row in PARAMETERS}
    declared = {
        ast.literal_eval(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "argument"
    }
    topics = {"image", "camera_info", "sparse_depth", "sparse_points"}
    assert declared >= mapping.keys() | topics | {"rviz", "use_sim_time", "params_file", "namespace", "name"}


def test_what_the_node_takes_few_words_for_launch_takes_the_same_for() -> None:
    tree = ast.parse(LAUNCH_FILE.read_text())
    named = {
        ast.unparse(statement.targets[0]): statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Tuple)
    }
    choices = {
        ast.literal_eval(call.args[0]): ast.literal_eval(named.get(ast.unparse(call.args[3]), call.args[3]))
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "argument" and len(call.args) > 3
        if "*" not in ast.unparse(call.args[3])
    }
    rows = {row.name: row for row in PARAMETERS if row.choices and isinstance(row.default, str)}
    assert {"coarse_precision", "refiner_precision", "align"} <= rows.keys()
    for name in rows.keys() - {"image_transport"}:  # which `compressed` stands for
        assert choices[name] == ("", *rows[name].choices), name


def test_rviz_shows_topics_that_the_node_publishes(graph: Graph) -> None:
    graph.depth_node(SlantedWall())
    displays = yaml.safe_load((ROOT / "rviz" / "depth_retrofit.rviz").read_text())["Visualization Manager"]["Displays"]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    assert topics == {f"{NODE}/points", f"{NODE}/depth/preview", f"{NODE}/depth/image_rect"}
    wait_until(lambda: all(graph.client.count_publishers(topic) == 1 for topic in topics), "the node's publishers of them")


@pytest.fixture
def description() -> Any:
    pytest.importorskip("launch_ros", reason="`launch` is not available as a wheel: this runs where a ROS 2 is installed")
    return load_script(LAUNCH_FILE).generate_launch_description()


def test_the_launch_file_starts_the_node_with_what_was_given(description: Any) -> None:
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    context = LaunchContext()
    given = {
        "image": "/cam/image",
        "budget": "0.05",
        "target_fps": "10",
        "outputs": "depth, points",
        "cloud_rate": "2.5",
        "views": "4",
        "align": "scale",
        "sparse_points_pose": "0 -0.1 0, 0.5 -0.5 0.5 0.5",
        "compressed": "true",
        "namespace": "front",
        "params_file": "x.yaml",
    }
    context.launch_configurations.update(given)
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.description
            entity.visit(context)
        elif isinstance(entity, OpaqueFunction):
            rviz, node = entity.visit(context)  # in this order: a missing rviz2 must not leave a started node behind
    assert rviz.condition is not None and not rviz.condition.evaluate(context)
    node._perform_substitutions(context)
    assert node.node_name == "/front/depth_retrofit"
    rules = [re.sub(r"\s", "", str(rule)) for rule in node.expanded_remapping_rules]
    assert "('image','/cam/image')" in rules
    files = [Path(file) for file, is_file in node._Node__expanded_parameter_arguments if is_file]
    (written,) = yaml.full_load(files[-1].read_text()).values()  # launch_ros writes lists as tuples
    assert written["ros__parameters"] == {
        "budget": 0.05,
        "target_fps": 10.0,
        "outputs": ("depth", "points"),
        "cloud_rate": 2.5,
        "views": 4,
        "align": "scale",
        "sparse_points_pose": (0.0, -0.1, 0.0, 0.5, -0.5, 0.5, 0.5),
        "image_transport": "compressed",
        "use_sim_time": False,
    }


def test_the_arguments_name_every_output_that_can_be_chosen() -> None:
    text = LAUNCH_FILE.read_text()
    (told,) = re.findall(r'"Images and clouds to offer[^)]*KEPT', text)
    assert set(re.findall(r"[a-z0-9_]+", told)) >= set(OUTPUTS)


def started(description: Any, **given: str) -> list[Any]:
    """What the launch file starts with these arguments: rviz, node."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    context = LaunchContext()
    context.launch_configurations.update({"params_file": "x.yaml", **given})
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
    (function,) = (entity for entity in description.entities if isinstance(entity, OpaqueFunction))
    return list(function.visit(context))


def test_a_value_that_does_not_fit_is_told_with_its_argument(description: Any) -> None:
    with pytest.raises(ValueError, match=r"^budget:=lots does not fit: [^\n]*$"):
        started(description, budget="lots")


def test_an_old_name_is_told_with_the_new_one(description: Any) -> None:
    with pytest.raises(ValueError, match=r"^least_budget is called min_budget now: give min_budget:=0.1$"):
        started(description, least_budget="0.1")


def test_no_launch_file_changes_the_environment_of_other_nodes() -> None:
    for file in LAUNCH_FILE.parent.glob("*.py"):
        assert "SetEnvironmentVariable" not in file.read_text(), f"{file.name}: additional_env of the process alone"


def test_the_transport_is_of_the_node_alone_and_the_robot_s_own_profile_is_kept(
    description: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch import LaunchContext
    from launch.utilities import perform_substitutions

    def profiles() -> dict[str, str]:
        context, before = LaunchContext(), dict(os.environ)
        _, node = started(description)
        assert dict(os.environ) == before
        given = node.process_description.additional_env
        return {perform_substitutions(context, key): perform_substitutions(context, value) for key, value in given}

    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert set(profiles()) == set(PROFILE_VARIABLES)
    monkeypatch.setenv(PROFILE_VARIABLES[0], "/robot.xml")
    assert profiles() == {}


def test_the_node_is_started_anew_unless_told_otherwise(description: Any) -> None:
    # launch has no public door to either
    _, node = started(description)
    assert node._ExecuteLocal__respawn is True and node._ExecuteLocal__respawn_delay == 2.0
    _, node = started(description, respawn="false", respawn_delay="0.5")
    assert node._ExecuteLocal__respawn is False and node._ExecuteLocal__respawn_delay == 0.5


def test_a_node_that_cannot_start_as_configured_ends_launch_instead(description: Any) -> None:
    from types import SimpleNamespace

    from launch import LaunchContext
    from launch.actions import Shutdown

    _, node = started(description)
    on_exit = node._ExecuteLocal__on_exit
    (action,) = on_exit(SimpleNamespace(returncode=MISCONFIGURED), LaunchContext())
    assert isinstance(action, Shutdown)
    for code in (0, FAILED, -11):
        assert not on_exit(SimpleNamespace(returncode=code), LaunchContext())


@pytest.mark.parametrize(
    ("transport", "image", "parameter"), [("ffmpeg", "/depth_retrofit/image_decoded", "raw"), ("compressed", "/cam", "compressed")]
)
def test_what_the_node_does_not_decode_a_republisher_does(description: Any, transport: str, image: str, parameter: str) -> None:
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    context = LaunchContext()
    context.launch_configurations.update({"image": "/cam", "transport": transport})
    entities: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.visit(context)
        elif isinstance(entity, OpaqueFunction):
            entities = entity.visit(context)
    _, *decoders, node = entities
    for found in (*decoders, node):
        found._perform_substitutions(context)
    rules = [re.sub(r"\s", "", str(rule)) for rule in node.expanded_remapping_rules]
    assert f"('image','{image}')" in rules
    files = [Path(file) for file, is_file in node._Node__expanded_parameter_arguments if is_file]
    (written,) = yaml.full_load(files[-1].read_text()).values()
    assert written["ros__parameters"]["image_transport"] == parameter
    assert len(decoders) == (transport == "ffmpeg")
    for decoder in decoders:
        rules = [re.sub(r"\s", "", str(rule)) for rule in decoder.expanded_remapping_rules]
        assert rules == ["('in/ffmpeg','/cam/ffmpeg')", "('out','/depth_retrofit/image_decoded')"]
