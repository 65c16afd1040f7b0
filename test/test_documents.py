"""Documents that name tests name tests that exist."""

from __future__ import annotations

import ast
import json
import re

import pytest

from test.paths import ROOT

NAMED = re.compile(r"`(test/[\w/]+\.py)::(\w+)`")
# Each of these must be a row of the matrix.
FAULTS = (
    "truncated data",
    "wrong step",
    "unknown encoding",
    "size changes mid-stream",
    "stamps jump back",
    "frame_id changes",
    "camera_info is lost",
    "memory runs out",
    "NaN in features",
    "subscriber that does not read",
    "starts again",
    "during inference",
    "parameter storms",
    "two nodes side by side",
    "disk fills up while recording",
)


@pytest.mark.parametrize("document", ["reliability.md", "conventions.md"])
def test_every_row_names_tests_that_exist(document: str) -> None:
    rows = [line for line in (ROOT / "docs" / document).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = [line for line in rows if not line.endswith("| test |")]
    assert len(rows) > 15
    for row in rows:
        named = NAMED.findall(row.split("|")[-2])
        assert named, f"no test in: {row}"
        for file, name in named:
            functions = {
                node.name
                for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
                if isinstance(node, ast.FunctionDef)
            }
            assert name in functions, f"{file} has no {name}"


@pytest.mark.parametrize("fault", FAULTS)
def test_the_matrix_has_a_row_for_each_fault(fault: str) -> None:
    lines = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| ") and fault in line.split("|")[1]]


def test_the_page_of_the_cloud_shows_what_was_measured() -> None:
    page = (ROOT / "docs" / "pointcloud.md").read_text(encoding="utf-8")
    results = ROOT / "benchmarks" / "results"
    for coarse, angles in json.loads((results / "flying_pixels.json").read_text())["coarse"].items():
        for angle, row in angles.items():
            assert f"| {coarse} | {angle} | {row['flying']:.2%} | {row['off']:.2%} | {row['lost']:.2%} |" in page
    for coarse, filters in json.loads((results / "false_obstacles.json").read_text())["per_100_frames"].items():
        for name, row in filters.items():
            assert f"| {coarse} | {name} | {row['false']} | {row['missed']:.1%} |" in page
    strides = json.loads((results / "cloud_filters.json").read_text())["strides"]
    for name in strides["2"]:
        two, one = (strides[stride][name] for stride in ("2", "1"))
        assert f"| {name} | {two['ms']:.1f} | {two['points']} | {one['ms']:.1f} | {one['points']} |" in page
    strides = json.loads((results / "cloud_filters_two_threads.json").read_text())["strides"]
    two, one = (strides[stride]["all"]["ms"] for stride in ("2", "1"))
    assert f"all filters {two:.1f} ms at stride 2, {one:.1f} ms at stride 1" in page
