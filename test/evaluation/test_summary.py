"""The summary tells the same in JSON, Markdown and HTML, and the page needs nothing beside it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.account import FrameAccount
from depth_retrofit_ros.evaluation.comparison import Score
from depth_retrofit_ros.evaluation.summary import Summary, machine, write_summary
from depth_retrofit_ros.export import write_image

SUMMARY = Summary(
    title="Replay of <bag>",
    facts={"source": "a & b"},
    account=FrameAccount(played=10, received=9, answered=6, dropped=2, failed=1, recorded=6),
    input_hz=10.0,
    output_hz=math.nan,
    latency_ms=[100.0, 200.0, 300.0],
    stages_ms={"coarse": [5.0, 7.0], "refine": []},
    age_ms=[],
    scores=[Score("refined", 3, math.nan, 0.125, 0.25)],
    files={"frames.csv": "every image"},
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    write_image(tmp_path / "comparison.png", np.zeros((4, 4, 3), np.uint8))
    write_summary(tmp_path, SUMMARY, [tmp_path / "comparison.png"])
    return tmp_path


def test_json(page: Path) -> None:
    told = json.loads((page / "summary.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert told["frames"] == {"played": 10, "received": 9, "answered": 6, "dropped": 2, "failed": 1, "recorded": 6, "lost": 1}
    assert told["output_hz"] is None
    assert told["times_ms"]["image published → depth received"] == {"p50": 200.0, "p95": 290.0, "p99": 298.0, "count": 3}
    assert set(told["times_ms"]) == {"image published → depth received", "coarse"}  # what was not measured is not there
    assert told["accuracy"] == [
        {"method": "refined", "frames": 3, "abs_rel": None, "abs_rel_scaled": 0.125, "edge_abs_rel_scaled": 0.25}
    ]


def test_markdown(page: Path) -> None:
    text = (page / "summary.md").read_text()
    assert "![comparison](comparison.png)" in text
    assert "| 10 | 6 | 2 | 1 | 1 |" in text
    assert "| refined | – | 12.5 % | 25.0 % | 3 |" in text
    assert "| image published → depth received | 200.0 | 290.0 | 298.0 | 3 |" in text


def test_html_is_escaped_and_self_contained(page: Path) -> None:
    text = (page / "summary.html").read_text()
    assert "Replay of &lt;bag&gt;" in text and "a &amp; b" in text and "<bag>" not in text
    assert not re.search(r"https?://|<script|<link", text)
    assert re.findall(r'src="([^,"]+)', text) == ["data:image/png;base64"]
    assert text.count("<polyline") == 1


def test_machine_counts_cpus() -> None:
    assert re.search(r", \d+ CPUs$", machine())
