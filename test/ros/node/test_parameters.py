"""Parameters through the services that `ros2 param` uses: declared from the table, live or refused, as the table says."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

import depth_retrofit_ros.ros
from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.node import parameter_docs, parameters
from depth_retrofit_ros.ros.node.node import DepthNode
from depth_retrofit_ros.ros.node.parameters import NO_POSE, PARAMETERS, Settings
from test.paths import ROOT
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, repeat_until, value, wait_until


def test_the_table_is_what_is_declared(graph: Graph) -> None:
    graph.depth_node(SlantedWall(), start=False)
    request = DescribeParameters.Request(names=[row.name for row in PARAMETERS])
    descriptors = graph.call(DescribeParameters, f"{NODE}/describe_parameters", request).descriptors
    for row, descriptor in zip(PARAMETERS, descriptors, strict=True):
        assert descriptor.description == row.description
        assert descriptor.read_only == (row.until is None)
        spans = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert [(span.from_value, span.to_value) for span in spans] == ([row.accepted] if row.accepted else [])


def test_a_span_may_leave_its_end_out() -> None:
    (row,) = (row for row in PARAMETERS if row.name == "entropy_threshold")
    assert row.refusal(0.999) is None and row.accepted is not None and 0.999 < row.accepted[1] < 1
    assert row.refusal(1.0) == "entropy_threshold must be 0 to below 1, not 1.0"


def test_every_parameter_is_a_setting_and_every_setting_is_read() -> None:
    assert [row.name for row in PARAMETERS] == [field.name for field in dataclasses.fields(Settings)]
    read = set()
    for file in Path(depth_retrofit_ros.ros.__file__).parent.rglob("*.py"):
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
    node = graph.depth_node(wall, target_fps=0.001)
    graph.listen(Image, f"{NODE}/depth/image_rect")
    reports = graph.listen(DiagnosticArray, "/diagnostics")
    images = graph.publisher(Image, "/image")
    repeat_until(
        lambda: images.publish(image_message()), lambda: reports and int(value(reports[-1], "input", "dropped")) >= 5, "five drops"
    )
    assert value(reports[-1], "input", "processed") == "1", "the first at once, the second in 1000 s"
    assert value(reports[-1], "pipeline", "target rate [Hz]") == "0.001"
    assert graph.set_parameter(node, "target_fps", 0.0).successful
    calls = wall.calls
    repeat_until(lambda: images.publish(image_message()), lambda: wall.calls > calls + 3, "frames at full rate")


REFUSED: list[tuple[str, Any, str]] = [
    ("budget", 1.5, "range"),
    ("budget", -0.1, "range"),
    ("budget", float("nan"), "range"),
    ("cloud_stride", 0, "range"),
    ("cloud_rate", -1.0, "range"),
    ("min_confidence", 1.5, "range"),
    ("target_fps", -1.0, "range"),
    ("budget", "all of it", "type"),
    ("budget", None, "cannot be undeclared"),
    ("outputs", None, "cannot be undeclared"),
    ("outputs", "depth", "type"),
    ("outputs", ["depth", "colour"], "some of depth, depth_mm, points, preview"),
    ("outputs", ["depth", "depth"], "some of"),
    ("model", "meter-nyu", "deactivate and clean up the node first"),
    ("image_transport", "compressed", "deactivate the node first"),
    ("align", "scale", "deactivate the node first"),
    ("sparse_points_pose", list(NO_POSE), "deactivate the node first"),
    ("autostart", False, "read-only"),
]


def test_other_changes_are_refused_with_the_reason_and_change_nothing(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    before = node.settings
    for name, wrong, told in REFUSED:
        result = graph.set_parameter(node, name, wrong)
        assert not result.successful, (name, wrong)
        assert told in result.reason
        assert node.settings == before
    values = {row.name: node.get_parameter(row.name).value for row in PARAMETERS}
    assert before.changed(values.items()) == before


def test_the_outputs_can_be_chosen_live(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), outputs=["depth"])
    stats = graph.listen(FrameStats, f"{NODE}/frame_stats")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    wait_until(lambda: offered(graph) == {"depth/image_rect"}, "its publisher")

    assert graph.set_parameter(node, "outputs", ["points", "depth_mm"]).successful
    wait_until(lambda: offered(graph) == {"points", "depth/image_rect_raw"}, "the other publishers")
    clouds, millimeters = graph.listen(PointCloud2, f"{NODE}/points"), graph.listen(Image, f"{NODE}/depth/image_rect_raw")
    images.publish(image_message(stamp_s=1))
    wait_until(lambda: clouds and millimeters and stats, "the next frame's outputs")
    assert clouds[0].header.stamp.sec == millimeters[0].header.stamp.sec == 1

    for choice in (["preview"], ["depth", "preview"], ["points"]):
        assert graph.set_parameter(node, "outputs", choice).successful
        images.publish(image_message(stamp_s=2))
    wait_until(lambda: offered(graph) == {"points"}, "the last choice")
    wait_until(lambda: node.count_subscribers(f"{NODE}/points") == 1, "the listener of the new publisher")
    repeat_until(lambda: images.publish(image_message(stamp_s=3)), lambda: clouds[-1].header.stamp.sec == 3, "its clouds")


def offered(graph: Graph) -> set[str]:
    """The topics of images and clouds that somebody publishes, as the graph shows them."""
    topics = ("depth/image_rect", "depth/image_rect_raw", "depth/preview", "points")
    return {topic for topic in topics if graph.client.count_publishers(f"{NODE}/{topic}") > 0}


def test_clouds_keep_to_their_own_rate(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), cloud_rate=0.001)
    stats, clouds = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(PointCloud2, f"{NODE}/points")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    images = graph.publisher(Image, "/image")
    repeat_until(lambda: images.publish(image_message()), lambda: len(stats) >= 4, "four frames")
    assert len(clouds) == 1, "the first at once, the second in 1000 s"
    assert graph.set_parameter(node, "cloud_rate", 0.0).successful
    repeat_until(lambda: images.publish(image_message()), lambda: len(clouds) >= 3, "a cloud with every frame")


def test_deleting_a_parameter_changes_nothing(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    deleted = ParameterMessage(name="budget", value=ParameterValue(type=0))
    request = SetParametersAtomically.Request(parameters=[deleted])
    assert not graph.call(SetParametersAtomically, f"{NODE}/set_parameters_atomically", request).result.successful
    assert node.settings.budget == node.get_parameter("budget").value == 0.1


def test_of_several_changes_at_once_all_or_none_are_made(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    changes = [Parameter(name, value=value).to_parameter_msg() for name, value in (("budget", 0.3), ("cloud_stride", 0))]
    request = SetParametersAtomically.Request(parameters=changes)
    assert not graph.call(SetParametersAtomically, f"{NODE}/set_parameters_atomically", request).result.successful
    assert node.settings.budget == node.get_parameter("budget").value == 0.1


def test_values_that_only_the_stage_forbids_are_accepted_later(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall())
    node.trigger_deactivate()
    assert graph.set_parameter(node, "image_transport", "compressed").successful
    assert "must be one of" in graph.set_parameter(node, "image_transport", "theora").reason
    assert "clean up the node first" in graph.set_parameter(node, "model", "meter-nyu").reason
    node.trigger_activate()
    wait_until(lambda: node.count_subscribers("/image/compressed") == 1, "the other subscription")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("budget", 2.0),
        ("image_transport", "theora"),
        ("cloud_stride", 0),
        ("budget", "much"),
        ("outputs", ["everything"]),
        ("align", "shift"),
        ("sparse_points_pose", [0.0, 0.0, 0.0]),
        ("sparse_points_pose", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]),
        ("sparse_points_pose", [float("nan"), 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
    ],
)
def test_a_wrong_start_value_is_refused(graph: Graph, name: str, wrong: Any) -> None:
    with pytest.raises(SetupError, match=name):
        DepthNode(context=graph.context, parameter_overrides=[Parameter(name, value=wrong)])


def test_refusals_speak_of_stages_only_where_they_matter() -> None:
    assert parameters.refusal([("use_sim_time", True), ("qos_overrides./x", 1)], "active") is None
    assert parameters.refusal([("model", "x")], "unconfigured") is None
    assert parameters.refusal([("budget", 0.5), ("model", "x")], "active") is not None


def test_the_page_and_the_parameter_file_show_the_table() -> None:
    """`make docs` writes them."""
    page = (ROOT / "docs" / "node.md").read_text(encoding="utf-8")
    assert parameter_docs.with_table(page) == page
    text = (ROOT / "config" / "pipeline.yaml").read_text(encoding="utf-8")
    assert parameter_docs.yaml() == text
    defaults = {row.name: list(row.default) if isinstance(row.default, tuple) else row.default for row in PARAMETERS}
    assert yaml.safe_load(text) == {"/**": {"ros__parameters": defaults}}


def test_the_table_names_every_parameter_and_when_it_changes() -> None:
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in parameter_docs.markdown().splitlines()[2:]]
    assert [row[0] for row in rows] == [row.name for row in PARAMETERS]
    assert {row[0] for row in rows if row[2] == "live"} == {row.name for row in PARAMETERS if row.until == "active"}
    with pytest.raises(ValueError, match=r"node\.md"):
        parameter_docs.with_table("no marks")
