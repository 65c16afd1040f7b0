"""What refinement gained and where, from the figures of the methods: by class of pixels, and as shares of what is attainable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from depth_retrofit_ros.evaluation.evaluator import Evaluated
from depth_retrofit_ros.evaluation.metrics.classes import CLASSES, class_errors, class_shares
from depth_retrofit_ros.evaluation.report.nulls import mean_of, or_none, weighted_mean

Entry = dict[str, Any]
TAKEN = {"abs_rel": False, "edge_abs_rel": False, "see": False, "boundary_f1": True, "delta1": True}  # whether more is better


def class_entry(result: Evaluated) -> Entry:
    """By class: ``share`` of the known pixels, ``selected`` share of its pixels; by method the mean |ln depth − ln truth| over the
    class (``log_error``) and over its selected pixels (``log_error_selected``); ``taken`` of both where ``attainable`` is known."""
    share, selected = class_shares(result.classes, result.selected)
    errors = {name: class_errors(depth, result.truth, result.classes) for name, depth in result.maps.items()}
    at_pixels = {name: class_errors(depth, result.truth, result.classes, result.selected) for name, depth in result.maps.items()}
    return {
        kind: with_taken(
            {
                "share": or_none(share[kind]),
                "selected": or_none(selected[kind]),
                "log_error": {name: or_none(by_class[kind]) for name, by_class in errors.items()},
                "log_error_selected": {name: or_none(by_class[kind]) for name, by_class in at_pixels.items()},
            }
        )
        for kind in CLASSES
    }


def mean_classes(entries: Sequence[Entry]) -> Entry:
    """``class_entry`` of all images together. An image counts by its share of the class, for the errors at the selected pixels by
    its share of those; ``share`` is the mean."""
    out = {}
    for kind in CLASSES:
        rows = [entry["classes"][kind] for entry in entries]
        share = [row["share"] or 0.0 for row in rows]
        chosen = [weight * (row["selected"] or 0.0) for weight, row in zip(share, rows, strict=True)]
        out[kind] = with_taken(
            {
                "share": mean_of(row["share"] for row in rows),
                "selected": weighted_mean([row["selected"] for row in rows], share),
                "log_error": _by_method([row["log_error"] for row in rows], share),
                "log_error_selected": _by_method([row["log_error_selected"] for row in rows], chosen),
            }
        )
    return out


def with_taken(row: Entry) -> Entry:
    """A row of ``class_entry`` with the shares taken, where it has ``attainable``."""
    if "attainable" not in row["log_error"]:
        return row
    return row | {"taken": {name: taken(row[name]) for name in ("log_error", "log_error_selected")}}


def metrics_taken(methods: Mapping[str, Mapping[str, float | None] | None]) -> Entry | None:
    """``taken`` of each metric of ``TAKEN``, from the figures by method; None where there is no ``attainable``."""
    if "attainable" not in methods:
        return None
    rows = {name: figures for name, figures in methods.items() if figures is not None}
    return {metric: taken({name: figures[metric] for name, figures in rows.items()}, more) for metric, more in TAKEN.items()}


def taken(figure: Mapping[str, float | None], more_is_better: bool = False) -> float | None:
    """(bilinear − refined) / (bilinear − attainable): the share of what is attainable that refinement takes.

    figure: of one metric, by method. None where one is missing, or nothing is attainable.
    """
    before, after, best = (figure[name] for name in ("bilinear", "refined", "attainable"))
    if before is None or after is None or best is None or (best <= before if more_is_better else best >= before):
        return None
    return (before - after) / (before - best)


def flat_ratio(methods: Mapping[str, Mapping[str, float | None] | None]) -> float | None:
    """``flat_abs_rel`` of refined over that of bilinear: above 1, refinement did harm outside the edge band."""
    before, after = ((methods[name] or {}).get("flat_abs_rel") for name in ("bilinear", "refined"))
    return None if before is None or after is None or before == 0 else after / before


def flat_summary(entries: Sequence[Entry], methods: Mapping[str, Mapping[str, float | None] | None]) -> Entry:
    """``mean``: the ratio of the means; ``worst``: the largest ``flat_ratio`` of an image, and its name. methods: the means."""
    ratios = {entry["name"]: entry["flat_ratio"] for entry in entries if entry["flat_ratio"] is not None}
    worst = max(ratios, key=lambda name: ratios[name], default=None)
    return {"mean": flat_ratio(methods), "worst": None if worst is None else ratios[worst], "worst_image": worst}


def _by_method(rows: Sequence[Mapping[str, float | None]], weights: Sequence[float]) -> dict[str, float | None]:
    names = {name: None for row in rows for name in row}
    return {name: weighted_mean([row.get(name) for row in rows], weights) for name in names}
