"""Shares of what is attainable, the classes of all images together, and what refinement does outside of the edges."""

from __future__ import annotations

from typing import Any

import pytest

from depth_retrofit_ros.evaluation.metrics.classes import CLASSES
from depth_retrofit_ros.evaluation.report.gains import flat_ratio, flat_summary, mean_classes, metrics_taken, taken


def figure(before: float | None, after: float | None, best: float | None) -> dict[str, float | None]:
    return {"bilinear": before, "refined": after, "attainable": best}


def test_the_share_taken_is_of_what_is_attainable() -> None:
    assert taken(figure(0.20, 0.17, 0.14)) == pytest.approx(0.5)
    assert taken(figure(0.20, 0.23, 0.14)) == pytest.approx(-0.5)
    assert taken(figure(0.0, 0.2, 0.8), more_is_better=True) == pytest.approx(0.25)
    assert taken(figure(None, 0.2, 0.8)) is None


def test_where_nothing_is_attainable_no_share_is_told() -> None:
    assert taken(figure(0.2, 0.1, 0.2)) is None and taken(figure(0.2, 0.1, 0.3)) is None
    assert taken(figure(0.8, 0.9, 0.7), more_is_better=True) is None


def test_of_each_metric_with_its_own_direction() -> None:
    lower, higher = figure(0.2, 0.17, 0.14), figure(0.1, 0.2, 0.6)
    metrics = {"abs_rel": lower, "edge_abs_rel": lower, "see": lower, "boundary_f1": higher, "delta1": higher}
    methods = {name: {metric: values[name] for metric, values in metrics.items()} for name in lower}
    shares = metrics_taken({**methods, "equal_time": None})
    assert shares == pytest.approx({"abs_rel": 0.5, "edge_abs_rel": 0.5, "see": 0.5, "boundary_f1": 0.2, "delta1": 0.2})
    assert metrics_taken({name: methods[name] for name in ("bilinear", "refined")}) is None


def image(share: float | None, selected: float | None, error: float | None, attainable: bool = True) -> dict[str, Any]:
    """The same figures in every class; refined as told, bilinear 1, attainable 0."""
    errors = {"bilinear": None if error is None else 1.0, "refined": error}
    if attainable:
        errors["attainable"] = None if error is None else 0.0
    row = {"share": share, "selected": selected, "log_error": errors, "log_error_selected": errors}
    return {"classes": dict.fromkeys(CLASSES, row)}


def test_an_image_counts_by_its_share_of_the_class() -> None:
    overall = mean_classes([image(0.03, 0.5, 0.2), image(0.01, 1.0, 0.6), image(0.0, None, None), image(None, None, None)])["thin"]
    assert overall["share"] == pytest.approx(0.04 / 3)
    assert overall["selected"] == pytest.approx(0.75 * 0.5 + 0.25 * 1.0)
    assert overall["log_error"]["refined"] == pytest.approx(0.75 * 0.2 + 0.25 * 0.6)
    assert overall["log_error_selected"]["refined"] == pytest.approx((0.015 * 0.2 + 0.01 * 0.6) / 0.025)
    assert overall["taken"]["log_error"] == pytest.approx(1 - 0.3)


def test_a_class_that_no_image_has() -> None:
    overall = mean_classes([image(0.0, None, None)])["gaps"]
    assert overall["share"] == 0 and overall["selected"] is None and overall["log_error"]["refined"] is None
    assert overall["taken"] == {"log_error": None, "log_error_selected": None}
    assert "taken" not in mean_classes([image(0.1, 0.2, 0.3, attainable=False)])["gaps"]


def flat(before: float | None, after: float | None) -> dict[str, dict[str, float | None] | None]:
    return {"bilinear": {"flat_abs_rel": before}, "refined": {"flat_abs_rel": after}}


def test_harm_outside_the_edges_is_read_from_the_worst_image() -> None:
    assert flat_ratio(flat(0.1, 0.101)) == pytest.approx(1.01)
    assert flat_ratio(flat(None, 0.1)) is flat_ratio(flat(0.0, 0.1)) is None
    entries = [{"name": name, "flat_ratio": ratio} for name, ratio in (("a", 0.9), ("b", 1.004), ("c", None))]
    assert flat_summary(entries, flat(0.2, 0.19)) == {"mean": pytest.approx(0.95), "worst": 1.004, "worst_image": "b"}
    assert flat_summary([], flat(None, None)) == {"mean": None, "worst": None, "worst_image": None}
