"""The summary tells the same in JSON, Markdown and HTML, and the page needs nothing beside it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport
from depth_retrofit_ros.evaluation.report.summary import Summary, machine, to_json
from depth_retrofit_ros.evaluation.report.summary_page import ACCURACY, to_html, write_summary
from depth_retrofit_ros.io.depth_files import write_image

FIGURES: dict[str, float | None] = dict.fromkeys(ACCURACY, 0.125) | {"edge_abs_rel": None}
ENTRY = {"stamp_ns": 5, "alignment": {"scale": 2.0}, "methods": {"bilinear": FIGURES, "refined": FIGURES}}
FLICKERING = {"bilinear": {"median": 0.01, "p95": 0.02, "drift": None}, "refined": {"median": 0.03, "p95": 0.04, "drift": 0.0}}
SUMMARY = Summary(
    title="Replay of <bag>",
    mode="realtime",
    facts={"source": "a & b"},
    circumstances={"machine": "m"},
    delivery=DeliveryReport(played=10, received=9, answered=6, dropped=2, failed=1, recorded=6),
    input_hz=10.0,
    output_hz=math.nan,
    images_s=[0.0, 1.0, 2.0, 3.0],
    answers_s=[0.1, 1.2, 3.3],
    latency_ms=[100.0, 200.0, 300.0],
    stages_ms={"coarse": [5.0, 7.0], "refine": []},
    age_ms=[],
    accuracy={
        "align": "median",
        "evaluated": 2,
        "unmatched": 1,
        "known_share": 0.5,
        "edge_share": 0.25,
        "methods": ENTRY["methods"],
        "frames": [ENTRY, ENTRY],
    },
    flicker={
        "pairs": 3,
        "pairs_with_static_pixels": 2,
        "static_share": 0.75,
        "static": FLICKERING,
        "static_and_refined": FLICKERING,
    },
    files={"frames.csv": "every image"},
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    write_image(tmp_path / "comparison.png", np.zeros((4, 4, 3), np.uint8))
    write_summary(tmp_path, SUMMARY, {tmp_path / "comparison.png": "two <maps>"})
    return tmp_path


def test_json(page: Path) -> None:
    told = json.loads((page / "summary.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert told["mode"] == "realtime" and told["circumstances"] == {"machine": "m"}
    assert told["frames"] == {"played": 10, "received": 9, "answered": 6, "dropped": 2, "failed": 1, "recorded": 6, "lost": 1}
    assert told["output_hz"] is None
    assert told["times_ms"]["image published → depth received"] == {"p50": 200.0, "p95": 290.0, "p99": 298.0, "count": 3}
    assert set(told["times_ms"]) == {"image published → depth received", "coarse"}  # what was not measured is not there
    assert told["accuracy"] == SUMMARY.accuracy and told["flicker"] == SUMMARY.flicker


def test_every_frame_json_has_nothing_that_a_clock_measured() -> None:
    one = replace(SUMMARY, mode="every-frame")
    other = replace(
        one, circumstances={"machine": "another"}, latency_ms=[1.0], input_hz=3.0, output_hz=4.0, stages_ms={}, answers_s=[9.0]
    )
    assert to_json(one) == to_json(other)
    assert not {"times_ms", "input_hz", "output_hz", "circumstances"} & json.loads(to_json(one)).keys()


def test_markdown(page: Path) -> None:
    text = (page / "summary.md").read_text()
    assert "![two <maps>](comparison.png)" in text
    assert "| 10 | 6 | 2 | 1 | 1 |" in text
    assert "| refined | – | 0.125 | 0.125 |" in text  # no edge in the reference
    assert "scale 2 … 2" in text and "1 images had no reference near" in text
    assert "| static pixels | bilinear | 0.01 | 0.02 | – |" in text and "2 of 3 pairs" in text
    assert "| image published → depth received | 200.0 | 290.0 | 298.0 | 3 |" in text


def test_html_is_escaped_and_self_contained(page: Path) -> None:
    text = (page / "summary.html").read_text()
    assert "Replay of &lt;bag&gt;" in text and "a &amp; b" in text and "<bag>" not in text and "<maps>" not in text
    assert not re.search(r"https?://|<script|<link", text)
    assert re.findall(r'src="([^,"]+)', text) == ["data:image/png;base64"]
    assert 'id="pictures:1"' in text and '<label class="open" for="pictures:1"><img' in text  # a click enlarges it
    for label in ("rate [Hz]", "latency [ms]", "AbsRel"):
        assert f">{label}</text>" in text


def test_a_run_without_any_answer_has_a_page() -> None:
    delivery = DeliveryReport(played=0, received=0, answered=0, dropped=0, failed=0, recorded=0)
    nothing: dict[str, Any] = {key: [] for key in ("images_s", "answers_s", "latency_ms", "age_ms")}
    empty = replace(SUMMARY, delivery=delivery, stages_ms={}, accuracy=None, flicker=None, input_hz=math.nan, **nothing)
    assert "<svg" not in to_html(empty, {}) and "Accuracy" not in to_html(empty, {})


def test_machine_counts_cpus() -> None:
    assert re.search(r", \d+ CPUs$", machine())
