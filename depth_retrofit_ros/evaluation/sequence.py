"""The frames of a run, one after the other: accuracy against a reference, and flicker from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.evaluation.baselines.upsampling import bilinear, nearest
from depth_retrofit_ros.evaluation.data.registration import on_grid
from depth_retrofit_ros.evaluation.evaluator import figures_of
from depth_retrofit_ros.evaluation.metrics.alignment import Alignment, Mode, fit
from depth_retrofit_ros.evaluation.metrics.edges import edge_band
from depth_retrofit_ros.evaluation.metrics.flicker import Flicker, View, flicker
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel
from depth_retrofit_ros.evaluation.report.nulls import mean_of, or_none
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.frame import Frame

METHODS = ("nearest", "bilinear", "refined")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the method said to one frame.

    refined: depth ``float32 [H, W]``; coarse: ``float32 [h, w]``, what it was made from; metric: whether they claim metres;
    selected: the refined pixels, bool [H, W], None where they are not known. reference: depth ``float32`` m of the same view, of
    any size, not finite where unknown, or None; reference_stamp_ns: its own stamp [ns].
    """

    frame: Frame
    refined: np.ndarray
    coarse: np.ndarray
    metric: bool
    selected: np.ndarray | None = None
    reference: np.ndarray | None = None
    reference_stamp_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer against its reference, all [H', W'] on the reference's grid: aligned depth by method, and the reference."""

    maps: Mapping[str, np.ndarray]
    reference: np.ndarray
    entry: Entry


@dataclass(slots=True)
class SequenceEvaluator:
    """Takes the answers in order; ``accuracy`` and ``flicker`` give the documents of all that came.

    align, inverse: see ``alignment.fit``. Keeps two frames at most.
    """

    align: Mode
    inverse: bool = False
    entries: list[Entry] = field(default_factory=list)
    unmatched_ns: list[int | None] = field(default_factory=list)
    _before: View | None = None
    _changes: list[tuple[int | None, Flicker | None]] = field(default_factory=list)

    def add(self, answer: Answer) -> Measured | None:
        """Measure one answer; None where it has no reference."""
        maps = upsampled(answer)
        if answer.selected is not None:
            self._compare_with_the_one_before(answer, maps, answer.selected)
        if answer.reference is None:
            self.unmatched_ns.append(answer.frame.stamp_ns)
            return None
        measured = measure(answer, maps, self.align, self.inverse)
        self.entries.append(measured.entry)
        return measured

    def accuracy(self) -> Entry | None:
        """None without any reference. A mean is over the frames that have the figure."""
        if not self.entries:
            return None
        return {
            "align": self.align,
            "evaluated": len(self.entries),
            "unmatched": len(self.unmatched_ns),
            "unmatched_stamps_ns": list(self.unmatched_ns),
            "known_share": mean_of(entry["known_share"] for entry in self.entries),
            "edge_share": mean_of(entry["edge_share"] for entry in self.entries),
            "methods": {name: _mean_figures([entry["methods"][name] for entry in self.entries]) for name in METHODS},
            "frames": list(self.entries),
        }

    def flicker(self) -> Entry | None:
        """None where no two frames in a row were given with their selection."""
        if not self._changes:
            return None
        counted = [change for _, change in self._changes if change is not None]

        def means(figures: Sequence[Mapping[str, Mapping[str, float]]]) -> Entry:
            rows = [{name: {key: or_none(x) for key, x in values.items()} for name, values in row.items()} for row in figures]
            return {name: _mean_figures([row[name] for row in rows]) for name in (rows[0] if rows else ())}

        return {
            "pairs": len(self._changes),
            "pairs_with_static_pixels": len(counted),
            "static_share": mean_of(change.static_share for change in counted),
            "static": means([change.static for change in counted]),
            "static_and_refined": means([change.refined for change in counted]),
            "frames": [_flicker_entry(stamp_ns, change) for stamp_ns, change in self._changes],
        }

    def _compare_with_the_one_before(self, answer: Answer, maps: Mapping[str, np.ndarray], selected: np.ndarray) -> None:
        height, width = answer.refined.shape
        reference = None if answer.reference is None else on_grid(answer.reference, height, width)
        shown = {name: maps[name] for name in ("bilinear", "refined")}
        view = View(answer.frame.image, reference, shown, selected)
        if self._before is not None:
            self._changes.append((answer.frame.stamp_ns, flicker(self._before, view)))
        self._before = view


def upsampled(answer: Answer) -> dict[str, np.ndarray]:
    """Depth ``float32 [H, W]`` by method."""
    coarse = torch.from_numpy(np.ascontiguousarray(answer.coarse))
    image = answer.frame.image
    return {"nearest": nearest(image, coarse), "bilinear": bilinear(image, coarse), "refined": answer.refined}


def measure(answer: Answer, maps: Mapping[str, np.ndarray], align: Mode, inverse: bool = False) -> Measured:
    """The figures of every method on the reference's grid. The alignment is fitted once, on the bilinear map, for all methods."""
    assert answer.reference is not None
    height, width = answer.reference.shape
    known = np.isfinite(answer.reference) & (answer.reference > 0)
    reference = np.where(known, answer.reference, np.float32(np.nan))
    maps = {name: on_grid(depth, height, width) for name, depth in maps.items()}
    alignment = fit(maps["bilinear"], reference, align, inverse)
    aligned = {name: alignment.apply(depth) for name, depth in maps.items()}
    band = edge_band(reference)
    camera = answer.frame.camera
    fx = None if camera is None else camera.resized(width, height).fx
    methods = {
        name: {metric: or_none(value) for metric, value in figures_of(depth, reference, band, fx).items()}
        | {"unaligned_abs_rel": or_none(abs_rel(maps[name], reference)) if answer.metric else None}
        for name, depth in aligned.items()
    }
    entry = {
        "stamp_ns": answer.frame.stamp_ns,
        "reference_stamp_ns": answer.reference_stamp_ns,
        "width": width,
        "height": height,
        "known_share": float(known.mean()),
        "edge_share": float((band & known).sum() / max(1, known.sum())),
        "alignment": _alignment(alignment),
        "methods": methods,
    }
    return Measured(aligned, reference, entry)


def _alignment(alignment: Alignment) -> Entry:
    return {"scale": alignment.scale, "shift": alignment.shift, "inverse": alignment.inverse}


def _mean_figures(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    return {metric: mean_of(row[metric] for row in rows) for metric in rows[0]}


def _flicker_entry(stamp_ns: int | None, change: Flicker | None) -> Entry:
    if change is None:
        return {"stamp_ns": stamp_ns, "static_share": None}

    def plain(figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        return {name: {key: or_none(value) for key, value in values.items()} for name, values in figures.items()}

    return {
        "stamp_ns": stamp_ns,
        "static_share": change.static_share,
        "static": plain(change.static),
        "static_and_refined": plain(change.refined),
    }
