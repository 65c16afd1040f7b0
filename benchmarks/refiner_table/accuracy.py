"""Accuracy on sets of frames with stored coarse maps, and how far surface normals are off."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
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
from depth_retrofit_ros.io.checkpoints import BUNDLED_FOLDER
from depth_retrofit_ros.io.digests import digest_of
from depth_retrofit_ros.pointcloud.exact_normals import exact_normals
from depth_retrofit_ros.pointcloud.normals import normals_of
from depth_retrofit_ros.refinement.registry import REFINERS
from refiner_table.systems import CPU, System

FIGURES = ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "dbe_accuracy", "dbe_completeness", "ce", "ce_beside")
DRAW = 0  # seed
BASELINES = (*UPSAMPLERS, "base", "oracle", "attainable")
Figures = dict[str, float | None]
Given = StoredCoarse | GivenCoarse


@dataclass(frozen=True)
class FrameSet:
    """Frames with true depth, and where a coarse map of each comes from: a folder of files, or a model by its name."""

    name: str
    frames: Path
    coarse: str
    most: int

    def pairs(self) -> list[Pair]:
        """At most ``most``, see ``drawn``. Raises DatasetError."""
        return drawn(find_pairs(self.frames), self.most)

    @cached_property
    def identity(self) -> Entry:
        """``frames``: what tells each of them and its truth, by name; ``coarse``: what tells the maps, or the model."""
        pairs = self.pairs()
        frames = {pair.name: told_by([pair.image, pair.truth]) for pair in pairs}
        if self.coarse in MODELS:
            info = MODELS[self.coarse]
            weights = [BUNDLED_FOLDER / name for name in info.files[:1]] if info.bundled else []
            return {"frames": frames, "coarse": f"{self.coarse} {told_by(weights)}"}
        return {"frames": frames, "coarse": told_by([stored_path(Path(self.coarse), pair.name) for pair in pairs])}

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


def drawn(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """At most ``most`` of them, by a lot that is the same each time: of as many kinds as there are, then another of each. Of a kind
    are names that begin alike, up to their number."""
    lots, kinds = random.Random(DRAW), dict[str, list[Pair]]()
    for pair in pairs:
        kinds.setdefault(re.split(r"[\W_]*\d", pair.name)[0], []).append(pair)
    order = list(kinds.values())
    for of_kind in order:
        lots.shuffle(of_kind)
    lots.shuffle(order)
    taken = [pair for turn in zip_longest(*order) for pair in turn if pair is not None]
    return sorted(taken[:most], key=lambda pair: pair.name)


def told_by(files: Sequence[Path]) -> str:
    """What tells the contents of files."""
    return hashlib.sha256("".join(map(digest_of, files)).encode()).hexdigest()[:16] if files else ""


def evaluator_of(system: System, budget: float, align: Any) -> Evaluator:
    """Of the system and what it is compared with at its seams; one serves all sets."""
    return Evaluator(system.refiner(), budget, align, preset=system.preset(), upsamplers=(), make=system.make)


def accuracy(evaluator: Evaluator, frames: FrameSet) -> Entry:
    """Means over the frames: ``refined``, and ``bilinear``; ``selected``: the share of the pixels that were refined. ``not`` says
    why the preset cannot serve these coarse maps."""
    entries, shares = list[Entry](), list[float]()
    for sample, coarse in frames:
        if reason := evaluator.preset.refusal(coarse):
            return {"not": reason}
        result = evaluator(sample, coarse)
        entries.append(image_entry(result))
        shares.append(float(result.selected.mean()))
    return {"selected": mean_of(shares), **{name: means(entries, name) for name in ("refined", "bilinear")}}


def baselines(system: System, frames: FrameSet, budget: float, align: Any) -> Entry:
    """Means of the methods that no refiner is part of; system: any, whose pixels the oracles know."""
    evaluator = Evaluator(system.refiner(), budget, align)
    entries = [image_entry(with_oracles(evaluator(sample, coarse))) for sample, coarse in frames]
    return {name: means(entries, name) for name in BASELINES}


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
