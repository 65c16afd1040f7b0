"""The figures as JSON: per image and overall, null where there is no figure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from depth_retrofit_ros.evaluation.evaluator import METHODS, Evaluated
from depth_retrofit_ros.evaluation.metrics.coverage import BUDGETS
from depth_retrofit_ros.evaluation.oracles import ORACLES
from depth_retrofit_ros.evaluation.report.gains import class_entry, flat_ratio, flat_summary, mean_classes, metrics_taken
from depth_retrofit_ros.evaluation.report.nulls import mean_of, median_of, or_none

Entry = dict[str, Any]
SHARES = ("known_share", "edge_share", "high_error_share", "moved_far")
CLASS_METHODS = ("bilinear", "base", "refined", "attainable")


def image_entry(result: Evaluated) -> Entry:
    """One entry of ``images``."""
    height, width = result.truth.shape
    known = np.isfinite(result.truth)
    count = int(known.sum())
    methods = {
        name: None if figures is None else {metric: or_none(value) for metric, value in figures.items()}
        for name, figures in result.methods.items()
    }
    return {
        "name": result.sample.name,
        "width": width,
        "height": height,
        "known_share": count / known.size,
        "edge_share": or_none((result.band & known).sum() / count if count else math.nan),
        "high_error_share": or_none(result.high_error.sum() / count if count else math.nan),
        "equal_time_px": result.equal_time_px,
        "alignment": {name: {"scale": a.scale, "shift": a.shift, "inverse": a.inverse} for name, a in result.alignments.items()},
        "coverage": {_key(budget): or_none(share) for budget, share in result.coverage.items()},
        "methods": methods,
        "classes": class_entry(result),
        "taken": metrics_taken(methods),
        "flat_ratio": flat_ratio(methods),
        "moved_far": or_none(result.moved_far),
        "confidence": {name: or_none(value) for name, value in result.confidence.items()},
    }


def summarize(entries: Sequence[Entry], facts: Mapping[str, Any]) -> Entry:
    """The whole document; facts: align, budget, and how it was run.

    A figure of ``methods`` is the mean over the images that have it, of ``medians`` the median over them.
    """
    means, medians = ({name: _overall(entries, name, over) for name in names_of(entries)} for over in (mean_of, median_of))
    shares = {name: mean_of(entry[name] for entry in entries) for name in SHARES}
    covered = {_key(budget): mean_of(entry["coverage"][_key(budget)] for entry in entries) for budget in BUDGETS}
    summary = {
        **facts,
        **shares,
        "methods": means,
        "medians": medians,
        "coverage": covered,
        "classes": mean_classes(entries),
        "taken": metrics_taken(means),
        "flat_ratio": flat_summary(entries, means),
        "confidence": {name: mean_of(entry["confidence"][name] for entry in entries) for name in entries[0]["confidence"]},
    }
    return {"images": list(entries), "summary": summary}


def names_of(entries: Sequence[Entry]) -> list[str]:
    """The methods that were measured, in the order in which they are told."""
    return [name for name in (*METHODS, *ORACLES) if all(name in entry["methods"] for entry in entries)]


def _overall(entries: Sequence[Entry], method: str, over: Callable[[Iterable[float | None]], float | None]) -> Entry | None:
    """Its figures over all images; None where it applies to none."""
    rows = [entry["methods"][method] for entry in entries if entry["methods"][method] is not None]
    return {metric: over(row[metric] for row in rows) for metric in rows[0]} if rows else None


def to_json(document: Entry) -> str:
    """Strict JSON: there is no NaN in it."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def table(document: Entry, metrics: Sequence[str]) -> str:
    """The summary as plain text, one line per method."""
    rows = [["method", *metrics]]
    for name, figures in document["summary"]["methods"].items():
        rows.append([name, *("-" if figures is None else _short(figures[m]) for m in metrics)])
    return aligned(rows)


def class_table(document: Entry) -> str:
    """The classes of the summary as plain text, one line per class; errors are those over the whole class."""
    classes = document["summary"]["classes"]
    shown = [name for name in CLASS_METHODS if name in classes["thin"]["log_error"]]
    rows = [["class", "share", "selected", *shown]]
    for name, row in classes.items():
        rows.append([name, _short(row["share"]), _short(row["selected"]), *(_short(row["log_error"][m]) for m in shown)])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells as columns of plain text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _key(budget: float) -> str:
    return f"{budget:g}"
