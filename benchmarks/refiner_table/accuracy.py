"""Accuracy on sets of frames with stored coarse maps, and how far surface normals are off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.coarse.registry import MODELS, load_coarse
from depth_retrofit_ros.coarse.stored import StoredCoarse, read_stored, stored_path
from depth_retrofit_ros.coarse.views import GivenCoarse
from depth_retrofit_ros.evaluation.baselines.upsampling import UPSAMPLERS
from depth_retrofit_ros.evaluation.data.dataset import Pair, Sample, find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import Evaluator, with_oracles
from depth_retrofit_ros.evaluation.metrics.normals import angular_error
from depth_retrofit_ros.evaluation.report.nulls import mean_of, or_none
from depth_retrofit_ros.evaluation.report.results import Entry, image_entry
from depth_retrofit_ros.pointcloud.exact_normals import exact_normals
from depth_retrofit_ros.pointcloud.normals import normals_of
from depth_retrofit_ros.refinement.registry import REFINERS
from refiner_table.systems import CPU, System

FIGURES = ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "dbe_accuracy", "dbe_completeness", "ce", "ce_beside")
BASELINES = (*UPSAMPLERS, "base", "oracle", "attainable")
Figures = dict[str, float | None]
Given = StoredCoarse | GivenCoarse


@dataclass(frozen=True, slots=True)
class FrameSet:
    """Frames with true depth, and where a coarse map of each comes from: a folder of files, or a model by its name."""

    name: str
    frames: Path
    coarse: str
    most: int

    def pairs(self) -> list[Pair]:
        """Of all or the first ``most``. Raises DatasetError."""
        return find_pairs(self.frames)[: self.most]

    def names(self) -> list[str]:
        """Of the frames."""
        return [pair.name for pair in self.pairs()]

    def __iter__(self) -> Iterator[tuple[Sample, Given]]:
        """Each frame with its coarse map, the same for all that is measured on it."""
        model = load_coarse(self.coarse, weights=None, device="cpu") if self.coarse in MODELS else None
        for pair in self.pairs():
            sample = read_pair(pair)
            if model is None:
                yield sample, read_stored(stored_path(Path(self.coarse), pair.name), CPU)
                continue
            with torch.inference_mode():
                prediction = model.predict(torch.from_numpy(sample.frame.image), sample.frame.camera)
            yield sample, GivenCoarse(prediction, model.name, model.claim)


def evaluator_of(system: System, budget: float, align: Any) -> Evaluator:
    """Of the system and what it is compared with at its seams; one serves all sets."""
    return Evaluator(system.refiner(), budget, align, preset=system.preset(), upsamplers=(), make=system.make)


def accuracy(evaluator: Evaluator, frames: FrameSet) -> Entry:
    """Means over the frames: ``refined``, and ``bilinear``; ``selected``: the share of the pixels that were refined. ``not`` says
    why the preset cannot serve these coarse maps."""
    entries, shares = list[Entry](), list[float]()
    for sample, coarse in frames:
        if reason := evaluator.preset.refusal(coarse):
            return {"frames": frames.names(), "not": reason}
        result = evaluator(sample, coarse)
        entries.append(image_entry(result))
        shares.append(float(result.selected.mean()))
    return {
        "frames": frames.names(),
        "selected": mean_of(shares),
        **{name: means(entries, name) for name in ("refined", "bilinear")},
    }


def baselines(system: System, frames: FrameSet, budget: float, align: Any) -> Entry:
    """Means of the methods that no refiner is part of; system: any, whose pixels the oracles know."""
    evaluator = Evaluator(system.refiner(), budget, align)
    entries = [image_entry(with_oracles(evaluator(sample, coarse))) for sample, coarse in frames]
    return {"frames": frames.names(), **{name: means(entries, name) for name in BASELINES}}


def means(entries: list[Entry], method: str) -> Figures:
    """Of a method over images."""
    return {figure: mean_of(entry["methods"][method][figure] for entry in entries) for figure in FIGURES}


@torch.inference_mode()
def normals(system: System, frames: FrameSet, budget: float) -> Entry | None:
    """Angles [deg] between surface normals and the true ones, at the pixels that the refiner looked at: those of the coarse depth,
    of the refined depth, and its own; means over the frames. None for a refiner that gives none."""
    if not REFINERS[system.checkpoint()["refiner"]].normals:
        return None
    refiner, rows = system.refiner(), list[dict[str, dict[str, float]]]()
    for sample, coarse in frames:
        result, camera = system.retrofit(coarse, refiner, budget)(sample.frame), sample.frame.camera
        assert result.refined_normals is not None and camera is not None, "the registry says so, and samples come with intrinsics"
        truth = exact_normals(np.where(np.isfinite(sample.depth), sample.depth, np.nan).astype(np.float32), camera)
        seen = result.selection.indices[result.gate < 1].numpy()
        own = result.refined_normals[:, result.gate < 1].numpy()
        true = truth.reshape(3, -1)[:, seen]
        by = {
            name: normals_of(depth, camera).numpy().reshape(3, -1)[:, seen]
            for name, depth in (("coarse", result.base), ("refined", result.depth))
        }
        rows.append({name: angular_error(found, true) for name, found in ({**by, "own": own}).items()})
    return {name: {key: mean_of(or_none(row[name][key]) for row in rows) for key in rows[0][name]} for name in rows[0]}
