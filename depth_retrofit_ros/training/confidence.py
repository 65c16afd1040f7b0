"""Fits the table of ``confidence.calibration`` on rendered scenes: log odds that a pixel's depth is right, by its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.confidence.calibration import KEPT, REFINED
from depth_retrofit_ros.confidence.correctness import is_right
from depth_retrofit_ros.confidence.features import CELL, CHOICE, FRAME, PIXEL, cell_features, difference, reaches, steps
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.training.coarse_views import FAR_FACTORS, SIMULATED_CLAIM, finite_truth
from depth_retrofit_ros.training.degradations import random_degradation, simulate_coarse
from depth_retrofit_ros.upsampling.interpolation import sample_at

KNOTS: Mapping[str, tuple[float, ...]] = {
    "edge": (0.0, 0.1, 0.3, 0.5, 0.8),
    "wide_edge": (0.0, 0.15, 0.35, 0.6, 0.85),
    "doubt": (0.1, 0.3, 0.5, 0.65, 0.85),
    "level": (-1.5, -0.5, 0.0, 0.5, 1.5, 3.0),
    "bend": (0.0, 0.1, 0.3, 0.6, 0.9),
    "noise": (0.0, 0.05, 0.2, 0.5),
    "spread": (0.0, 0.25, 0.5, 1.0, 1.5),
    "step": (0.0, 0.003, 0.01, 0.04, 0.15, 0.5),
    "wide_step": (0.0, 0.005, 0.02, 0.06, 0.2, 0.5),
    "entropy": (0.0, 0.3, 0.9, 1.6, 2.6),
    "gate": (0.0, 0.25, 0.5, 0.75, 1.0),
    "change": (0.0, 0.01, 0.03, 0.1, 0.3),
}
LONG_SIDES = (77, 280)  # of simulated maps of a view of 768: a tenth to a third of the frame, as at run time
ROUGHNESS, SIZE = 3e-4, 1e-5  # penalties per sample, of the second differences of a curve's values and of the values
STEPS = 25


@dataclass
class Samples:
    """Of pixels of one kind, an entry for each frame. basis: ``float32 [n, B]``, hat functions of features; right: ``bool [n]``;
    model: the coarse model's name."""

    basis: list[torch.Tensor] = field(default_factory=list)
    right: list[torch.Tensor] = field(default_factory=list)
    model: list[str] = field(default_factory=list)

    def add(self, basis: torch.Tensor, right: torch.Tensor, model: str) -> None:
        """Pixels of one frame."""
        if len(right):
            self.basis.append(basis)
            self.right.append(right)
            self.model.append(model)


class Simulated:
    """A coarse model with one answer."""

    name = "simulated"
    claim = SIMULATED_CLAIM
    device = torch.device("cpu")

    def __init__(self, depth: np.ndarray, features: np.ndarray) -> None:
        self.answer = CoarsePrediction(torch.from_numpy(depth), torch.from_numpy(features))

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``."""
        return self.answer


def simulated_model(rng: np.random.Generator, data: Mapping[str, np.ndarray]) -> Simulated:
    """For the view of a pool's sample."""
    truth, _ = finite_truth(data, float(np.exp(rng.uniform(*np.log(FAR_FACTORS)))))
    return Simulated(*simulate_coarse(rng, truth, random_degradation(rng), LONG_SIDES))


def draw(
    rng: np.random.Generator,
    data: Mapping[str, np.ndarray],
    model: CoarseModel,
    refiner: Refiner[Any],
    count: int,
    kept: Samples,
    refined: Samples,
) -> None:
    """Add pixels of a pool's view, at most ``count`` of each kind; of one in four frames nothing is refined."""
    image = np.ascontiguousarray(data["view"])
    height, width = image.shape[:2]
    f_px = float(data["f_px"]) * width / float(data["frame"][0])
    camera = Camera(width, height, f_px, f_px, (width - 1) / 2, (height - 1) / 2)
    budget = 0.0 if rng.random() < 0.25 else float(np.exp(rng.uniform(np.log(0.03), np.log(0.25))))
    add_pixels(rng, Retrofit(model, refiner, budget)(Frame(image, camera=camera)), data["view_depth"], count, kept, refined)


def add_pixels(
    rng: np.random.Generator, result: DepthFrame, truth: np.ndarray, count: int, kept: Samples, refined: Samples
) -> None:
    """Add pixels of an answer whose true depth ``[H, W]`` is known, inf in the sky, at most ``count`` of each kind."""
    assert result.choice_entropy is not None, "of the sparse refiner"
    right = torch.from_numpy(is_right(result.depth.numpy(), truth)).flatten()
    known = torch.from_numpy(~np.isnan(truth)).flatten() & ~result.depth.isnan().flatten()
    chosen = result.selection.mask().flatten()
    low, size = (result.coarse.shape[0], result.coarse.shape[1]), result.selection.size
    cells = torch.cat([hats(f, KNOTS[name]) for name, f in zip(CELL + FRAME, cell_features(result), strict=True)], -1)
    for into, among in ((kept, known & ~chosen), (refined, known & chosen)):
        at = among.nonzero()[:, 0]
        at = at[torch.from_numpy(rng.choice(len(at), min(len(at), count), replace=False))] if len(at) else at
        parts = [sample_at(cells, at, size)]
        if into is refined:
            slopes = [steps(result.depth, reach).flatten()[at] for reach in reaches(size, low)]
            parts += [hats(slope, KNOTS[name]) for name, slope in zip(PIXEL, slopes, strict=True)]
            place = result.selection.index_image.flatten()[at].long()
            change = difference(result.depth.flatten()[at], result.base.flatten()[at])
            told = result.choice_entropy[place], result.gate[place], change
            parts += [hats(value, KNOTS[name]) for name, value in zip(CHOICE, told, strict=True)]
        into.add(torch.cat(parts, -1), right[at], result.model)


def hats(feature: torch.Tensor, knots: Sequence[float]) -> torch.Tensor:
    """``[…]`` → ``[…, n]``: the shares of the knots in a linear interpolation between them."""
    at = torch.tensor(knots)
    held = feature.float().clamp(at[0], at[-1]).contiguous()
    right = torch.searchsorted(at, held).clamp(1, len(at) - 1)
    share = (held - at[right - 1]) / (at[right] - at[right - 1])
    out = torch.zeros(*held.shape, len(at))
    return out.scatter_(-1, right[..., None], share[..., None]).scatter_(-1, right[..., None] - 1, 1 - share[..., None])


def fit(samples: Samples, names: Sequence[str]) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """The curves by feature, and log odds for each coarse model but the simulated ones, that make the samples most likely; smooth
    curves and small odds are preferred. Logistic regression by Newton's method; each frame counts alike."""
    models = sorted(set(samples.model) - {Simulated.name})
    frames = zip(samples.basis, samples.model, strict=True)
    x = torch.cat([torch.cat([basis, _told(model, models, len(basis))], -1) for basis, model in frames]).double()
    right = torch.cat(samples.right).double()
    weight = torch.cat([torch.full((len(r),), 1 / len(r)) for r in samples.right]).double() / len(samples.right)
    penalty, start = torch.eye(x.shape[1], dtype=torch.float64) * SIZE, 0
    for name in names:
        bends = _second_differences(KNOTS[name])
        n = len(KNOTS[name])
        penalty[start : start + n, start : start + n] += ROUGHNESS * bends.T @ bends
        start += n
    values = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(STEPS):
        said = (x @ values).sigmoid()
        gradient = x.T @ (weight * (said - right)) + penalty @ values
        curvature = x.T @ (x * (weight * said * (1 - said))[:, None]) + penalty
        values -= torch.linalg.solve(curvature, gradient)
    curves, start = {}, 0
    for name in names:
        n = len(KNOTS[name])
        curves[name] = {"knots": list(KNOTS[name]), "values": [_rounded(v) for v in values[start : start + n]]}
        start += n
    return curves, {name: _rounded(odds) for name, odds in zip(models, values[start:], strict=True)}


def _told(model: str, models: Sequence[str], count: int) -> torch.Tensor:
    """``float32 [count, M]``: 1 for this of ``models``."""
    return torch.tensor([float(model == name) for name in models]).expand(count, -1)


def _rounded(value: torch.Tensor) -> float:
    return round(float(value), 4)


def _second_differences(knots: Sequence[float]) -> torch.Tensor:
    rows = torch.eye(len(knots), dtype=torch.float64)
    return rows.diff(n=2, dim=0)


def fit_table(
    draws: Sequence[tuple[Path, CoarseModel | None]],
    refiner: Refiner[Any],
    seed: int,
    count: int,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """The document of a table. draws: files of a pool's views, each with the coarse model that answers it, None for a simulated
    one; count: pixels of each kind and frame."""
    kept, refined = Samples(), Samples()
    for index, (path, model) in enumerate(draws):
        rng = np.random.default_rng((seed, index))
        with np.load(path) as file:
            data = {name: file[name] for name in ("view", "view_depth", "frame", "f_px")}
        draw(rng, data, model or simulated_model(rng, data), refiner, count, kept, refined)
        progress(index + 1)
    return table_of(kept, refined)


def table_of(kept: Samples, refined: Samples) -> dict[str, Any]:
    """Their table, as ``Calibration.of`` takes it. A model that is not among theirs has the mean of their odds. A stored map has
    those of the simulated ones, which are made to be like the maps of many models."""
    document: dict[str, Any] = {}
    for part, samples, names in (("kept", kept, KEPT), ("refined", refined, REFINED)):
        curves, models = fit(samples, names)
        models = {Simulated.name: 0.0, **models}
        other = round(fmean(models.values()), 4)
        document[part] = {"curves": curves, "models": models | {StoredCoarse.name: 0.0}, "other": other}
    return document
