"""What docs/integrations/ offers for other programs parses, and names topics that the node publishes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from depth_retrofit_ros.ros.node.outputs import _TOPICS
from depth_retrofit_ros.ros.node.parameters import NAMES
from test.paths import ROOT
from test.ros.graph import NODE

FILES = ROOT / "config" / "integrations"
DOCUMENTS = ROOT / "docs" / "integrations"
TOPICS = {topic.replace("~", NODE) for _, topic, _ in _TOPICS.values()} | {"/diagnostics"}


def costmap(name: str, layer: str) -> Any:
    return yaml.safe_load((FILES / name).read_text())["local_costmap"]["local_costmap"]["ros__parameters"][layer]


@pytest.mark.parametrize("path", sorted(FILES.glob("*.yaml")), ids=lambda path: path.name)
def test_a_parameter_file_has_parameters_and_a_document_that_names_it(path: Any) -> None:
    (content,) = yaml.safe_load(path.read_text()).values()
    assert content.get("ros__parameters") or content["local_costmap"]["ros__parameters"]
    named = [document.name for document in DOCUMENTS.glob("*.md") if f"config/integrations/{path.name}" in document.read_text()]
    assert len(named) == 1
    assert set(re.findall(rf"{NODE}/[\w/]+", path.read_text())) <= TOPICS


@pytest.mark.parametrize(
    ("name", "layer", "plugin"),
    [
        ("nav2_voxel_layer.yaml", "voxel_layer", "nav2_costmap_2d::VoxelLayer"),
        ("nav2_stvl.yaml", "stvl_layer", "spatio_temporal_voxel_layer/SpatioTemporalVoxelLayer"),
    ],
)
def test_the_costmap_s_layer_marks_and_clears_by_the_node_s_cloud(name: str, layer: str, plugin: str) -> None:
    voxels = costmap(name, layer)
    assert voxels["plugin"] == plugin and layer in costmap(name, "plugins") and costmap(name, "plugins")[-1] == "inflation_layer"
    sources = [voxels[source] for source in voxels["observation_sources"].split()]
    assert {source["topic"] for source in sources} == {f"{NODE}/points"} and {source["data_type"] for source in sources} == {
        "PointCloud2"
    }
    for does in ("marking", "clearing"):
        assert sum(source[does] for source in sources) == 1
    assert all(0 < source["min_obstacle_height"] < source["max_obstacle_height"] for source in sources if source["marking"])


def test_the_voxel_layer_s_column_reaches_as_high_as_it_marks_and_no_higher_than_it_can() -> None:
    voxels = costmap("nav2_voxel_layer.yaml", "voxel_layer")
    source = voxels["depth_retrofit"]
    assert voxels["z_voxels"] <= 16
    assert (
        voxels["origin_z"] + voxels["z_voxels"] * voxels["z_resolution"]
        >= voxels["max_obstacle_height"]
        == source["max_obstacle_height"]
    )
    assert source["obstacle_max_range"] < source["raytrace_max_range"], "what was marked can be cleared"


def test_the_layout_shows_its_own_panels_and_topics_of_the_node() -> None:
    text = (FILES / "foxglove_layout.json").read_text()
    layout = json.loads(text)

    def panels(part: Any) -> list[str]:
        return [part] if isinstance(part, str) else panels(part["first"]) + panels(part["second"])

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    assert set(re.findall(rf'"({NODE}/[\w/]+)', text)) <= TOPICS
    assert f"{NODE}/points" in text and f"{NODE}/depth/preview" in text


@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*.md")), ids=lambda path: path.name)
def test_a_document_names_parameters_topics_and_files_that_exist_and_says_what_was_run(path: Any) -> None:
    text = path.read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
    assert {row.strip("`") for row in rows} <= NAMES
    assert set(re.findall(rf"(?<!\w){NODE}/[\w/]+", text)) <= TOPICS
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (path.parent / target).exists(), target
    for file in re.findall(r"config/integrations/[\w.]+\w", text) + re.findall(r"`(test/[\w/]+\.py)`", text):
        assert (ROOT / file).exists(), file
    assert "## What was run" in text
