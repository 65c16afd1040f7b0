"""The figures as JSON: per image and overall, null where there is no figure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from depth_retrofit_ros.evaluation.evaluator import METHODS, Evaluated
from depth_retrofit_ros.evaluation.metrics.coverage import BUDGETS

Entry = dict[str, Any]


def image_entry(result: Evaluated) -> Entry:
    """One entry of ``images``."""
    height, width = result.truth.shape
    known = np.isfinite(result.truth)
    count = int(known.sum())
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
        "methods": {
            name: None if figures is None else {metric: or_none(value) for metric, value in figures.items()}
            for name, figures in result.methods.items()
        },
    }


def summarize(entries: Sequence[Entry], facts: Mapping[str, Any]) -> Entry:
    """The whole document. An overall figure is the mean over the images that have it; facts: align, budget, and how it was run."""
    methods = {}
    for name in METHODS:
        rows = [entry["methods"][name] for entry in entries if entry["methods"][name] is not None]
        methods[name] = {metric: mean_of(row[metric] for row in rows) for metric in rows[0]} if rows else None
    shares = {name: mean_of(entry[name] for entry in entries) for name in ("known_share", "edge_share", "high_error_share")}
    covered = {_key(budget): mean_of(entry["coverage"][_key(budget)] for entry in entries) for budget in BUDGETS}
    return {"images": list(entries), "summary": {**facts, **shares, "methods": methods, "coverage": covered}}


def to_json(document: Entry) -> str:
    """Strict JSON: there is no NaN in it."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def table(document: Entry, metrics: Sequence[str]) -> str:
    """The summary as plain text, one line per method."""
    rows = [("method", *metrics)]
    for name, figures in document["summary"]["methods"].items():
        rows.append((name, *("-" if figures is None or figures[m] is None else f"{figures[m]:.4g}" for m in metrics)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _key(budget: float) -> str:
    return f"{budget:g}"


def or_none(value: float) -> float | None:
    """A finite number, or None."""
    return float(value) if math.isfinite(value) else None


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of those that are not None; None without any."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
