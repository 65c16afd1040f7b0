"""The page of several cameras shows what was measured, and every image of the measurement is accounted for."""

from __future__ import annotations

import json
from typing import Any

from test.paths import ROOT

FIGURES = json.loads((ROOT / "benchmarks" / "results" / "several_cameras.json").read_text())
CAMERAS = ("front", "rear")
COUNTS = ("received", "processed", "dropped", "failed")


def of_cameras(case: dict[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in CAMERAS if name in case}


def test_the_page_shows_what_was_measured() -> None:
    page = (ROOT / "docs" / "several-cameras.md").read_text(encoding="utf-8")
    for name, case in FIGURES["cases"].items():
        for camera, row in of_cameras(case).items():
            counts = " | ".join(str(row["counts"][count]) for count in COUNTS)
            gaps = f"{row['gap_ms_p50']:.0f} / {row['gap_ms_max']:.0f}"
            assert f"| {name} | {camera} | {row['rate_hz']:.2f} | {gaps} | {row['age_ms_p50']:.0f} | {counts} |" in page
        assert f"| {name} | {case['pss_mb']:.0f} | {case['cpu_share_of_a_core']:.2f} | {case['cpu_ms_per_answer']:.0f} |" in page
    held = FIGURES["cases"]["one process, target rate"]
    after = held["after_one_stopped"]["front"]
    assert (
        f"a budget of {held['front']['budget_p50']:.3f} and {held['rear']['budget_p50']:.3f} while both come, and of "
        f"{after['budget_p50']:.3f} for"
    ) in " ".join(page.split())


def test_every_image_of_each_camera_is_accounted_for() -> None:
    for case in FIGURES["cases"].values():
        for row in of_cameras(case).values():
            counts = row["counts"]
            assert counts["received"] == counts["processed"] + counts["dropped"] + counts["failed"]
            assert 0 < counts["received"] <= counts["sent"] and counts["failed"] == 0


def test_cameras_that_ask_alike_are_served_alike_and_one_that_seldom_asks_whenever_it_does() -> None:
    alike, slow = FIGURES["cases"]["one process"], FIGURES["cases"]["one process, one slow camera"]
    assert abs(alike["front"]["rate_hz"] / alike["rear"]["rate_hz"] - 1) < 0.05
    assert slow["rear"]["rate_hz"] > 0.9 * FIGURES["slow_hz"]
