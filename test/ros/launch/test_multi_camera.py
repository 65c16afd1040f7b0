"""The launch file of several cameras: the processes of a list, where `launch` is installed."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from depth_retrofit_ros.ros.node.main import FAILED, MISCONFIGURED
from test.paths import ROOT
from test.scripts import load_script

LAUNCH_FILE = ROOT / "launch" / "multi_camera.launch.py"
LIST = ROOT / "config" / "cameras.yaml"


@pytest.fixture
def description() -> Any:
    pytest.importorskip("launch_ros", reason="`launch` is not available as a wheel: this runs where a ROS 2 is installed")
    return load_script(LAUNCH_FILE).generate_launch_description()


def started(description: Any, **given: str) -> list[Any]:
    """The processes."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    context = LaunchContext()
    context.launch_configurations.update({"params_file": "x.yaml", "cameras": str(LIST), **given})
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.description
            entity.visit(context)
    (function,) = (entity for entity in description.entities if isinstance(entity, OpaqueFunction))
    nodes = list(function.visit(context))
    for node in nodes:
        node._perform_substitutions(context)
    return nodes


def test_each_camera_has_a_process_with_its_topics_and_parameters(description: Any) -> None:
    front, rear = started(description, one_process="false")
    assert (front.node_name, rear.node_name) == ("/front/depth_retrofit", "/rear/depth_retrofit")
    rules = [re.sub(r"\s", "", str(rule)) for rule in rear.expanded_remapping_rules]
    assert rules == ["('image','/rear/image_raw')", "('camera_info','/rear/camera_info')"]
    files = [Path(file) for file, is_file in rear._Node__expanded_parameter_arguments if is_file]
    (written,) = yaml.full_load(files[-1].read_text()).values()
    parameters = written["ros__parameters"]
    assert (parameters["model"], parameters["target_fps"], parameters["rectify"]) == ("auto", 5.0, "true")


def test_one_process_is_given_the_list_and_no_name(description: Any) -> None:
    (process,) = started(description)
    assert process.node_executable == "depth_cameras"
    assert not any("__node" in str(word) or "__ns" in str(word) for word in process.cmd)


def test_a_mistake_is_one_line_before_anything_starts(description: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*it names no camera[^\n]*$"):
        (tmp_path / "cameras.yaml").write_text("{}")
        started(description, cameras=str(tmp_path / "cameras.yaml"))


def test_a_process_that_cannot_start_as_configured_ends_launch_instead(description: Any) -> None:
    from launch import LaunchContext
    from launch.actions import Shutdown

    (process,) = started(description)
    on_exit = process._ExecuteLocal__on_exit
    (action,) = on_exit(SimpleNamespace(returncode=MISCONFIGURED), LaunchContext())
    assert isinstance(action, Shutdown)
    assert not on_exit(SimpleNamespace(returncode=FAILED), LaunchContext())
