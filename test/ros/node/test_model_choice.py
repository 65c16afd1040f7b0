"""Which model the node takes, at which size, and that it fetches nothing by itself; what it says of that."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from depth_retrofit_ros import loading
from depth_retrofit_ros.coarse import fetching
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.msg import FrameStats
from depth_retrofit_ros.ros.health.package_log import package_log
from depth_retrofit_ros.ros.node.node import DepthNode
from test.ros.graph import NODE, Graph, SlantedWall, image_message, info_message, value, wait_until


def test_auto_takes_what_is_here_and_everything_has_its_name(graph: Graph) -> None:
    node = graph.depth_node(start=False, coarse_size=64)
    logged = graph.infos(node)
    assert node.autostart()
    assert node.settings.model == "auto" and node.settings.coarse_size == "64"
    (line,) = [line for line in logged if line.startswith("model auto: ")]
    assert line.startswith("model auto: taking compact, the best there is for cpu; better, but seconds per image: ")
    assert any(line.startswith("compact is ready on ") and "input long side 64" in line for line in logged)
    stats, reports = graph.listen(FrameStats, f"{NODE}/frame_stats"), graph.listen(DiagnosticArray, "/diagnostics")
    graph.publisher(CameraInfo, "/camera_info").publish(info_message())
    graph.publisher(Image, "/image").publish(image_message())
    wait_until(lambda: stats, "the frame")
    assert stats[0].model == "compact"
    wait_until(lambda: reports and value(reports[-1], "model", "input") == "64x48 (long side 64)", "the size in the report")
    assert value(reports[-1], "model", "name") == "compact"


def test_the_size_can_be_changed_before_it_is_configured(graph: Graph) -> None:
    node = graph.depth_node(start=False, model="compact")
    assert node.settings.coarse_size == "default"
    assert graph.set_parameter(node, "coarse_size", 96).successful
    assert node.settings.coarse_size == node.get_parameter("coarse_size").value == "96", "a number is as good as its text"
    assert graph.set_parameter(node, "coarse_size", "native").successful
    refused = graph.set_parameter(node, "coarse_size", "small")
    assert refused.reason == "coarse_size must be a number of pixels, native or default, not 'small'"
    assert node.settings.coarse_size == "native" and node.autostart()
    assert "clean up the node first" in graph.set_parameter(node, "coarse_size", 128).reason


@pytest.mark.parametrize("wrong", ["-5", "", "1.5", 2.5, True])
def test_a_size_that_is_none_is_refused_at_the_start(graph: Graph, wrong: Any) -> None:
    with pytest.raises(SetupError, match="coarse_size must be"):
        DepthNode(context=graph.context, parameter_overrides=[Parameter("coarse_size", value=wrong)])


def test_what_the_package_logs_reaches_the_nodes_log_at_its_own_level(graph: Graph) -> None:
    node = graph.depth_node(SlantedWall(), start=False)
    infos, log = graph.infos(node), logging.getLogger("depth_retrofit_ros.coarse.test")
    for _ in range(2):
        with package_log(node.get_logger()):
            log.info("%d is fine", 1)
            log.warning("two is %s", "odd")
            log.error("three is wrong")
    log.info("not in a block")
    assert infos == ["1 is fine"] * 2 and graph.warnings(node) == ["two is odd", "three is wrong"] * 2


def test_a_model_that_is_not_here_is_not_fetched(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(fetching, "fetch", lambda info: fetched.append(info.name))
    node = graph.depth_node(start=False, model="depth-anything-v2-small")
    assert not node.autostart() and fetched == []
    told = "the weights of depth-anything-v2-small are not here: depth-retrofit models fetch depth-anything-v2-small"
    assert graph.warnings(node) == [f"cannot configure: {told}"]
    assert graph.set_parameter(node, "allow_download", True).successful
    node.autostart()
    assert fetched == ["depth-anything-v2-small"]


def test_auto_passes_over_what_cannot_be_aligned_as_asked(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(loading, "load", lambda model, **settings: given.update(settings, model=model) or SlantedWall())
    graph.depth_node(start=False, align="scale").autostart()
    assert given["model"] == "auto"
    assert "set align to scale-shift" in given["suits"](MODELS["depth-anything-v2-small"])
    assert given["suits"](MODELS["compact"]) is None
