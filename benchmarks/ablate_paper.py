#!/usr/bin/env python3
"""What each departure from the paper costs or gains: its settings one by one, from the paper to the letter to this project's own.

    python benchmarks/make_validation_scenes.py --out DIR --simulated DIR2
    python benchmarks/ablate_paper.py DIR --coarse DIR2 --json benchmarks/results/ablate_paper.json
    python benchmarks/ablate_paper.py DIR --model compact --json benchmarks/results/ablate_paper_compact.json

Two rows are ablations of the paper's own: as many pixels drawn at random, and the refined value in place of the gate's mix. Rows
that put other parts before the paper's network (guided upsampling, ranked selection, the default's parts) run it on inputs that it
was not trained for, and so does ``sparse`` among the paper's parts: they tell what the parts do to these checkpoints, not what a
network trained with them would reach. All figures are of one coarse map per frame, with one alignment.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.coarse.views import GivenCoarse
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import figures_of
from depth_retrofit_ros.evaluation.metrics.alignment import fit
from depth_retrofit_ros.evaluation.metrics.coverage import coverage, high_error
from depth_retrofit_ros.evaluation.metrics.edges import edge_band
from depth_retrofit_ros.presets import USUAL, Parts, Preset, load_preset
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.paper.refiner import PaperRefiner
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.selection.selector import Selector
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import upsample

BUDGET = 0.1
SHOWN = ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "coverage", "refined", "gate", "ms")
Row = dict[str, list[float]]
Variant = tuple[Refiner[Any], Callable[[CoarseModel], Parts]]


class AsManyAtRandom:
    """``Selector``: as many pixels as another one chooses, anywhere; the same of every frame of a size and number."""

    def __init__(self, other: Selector) -> None:
        self._other = other

    def score(self, coarse: CoarsePrediction, image: Tensor) -> Tensor:
        """See ``Selector.score``."""
        return self._other.score(coarse, image)

    def choose(self, score: Tensor, size: tuple[int, int], budget: float) -> PixelSet:
        """See ``Selector.choose``."""
        count = self._other.choose(score, size, budget).count
        order = torch.randperm(size[0] * size[1], generator=torch.Generator().manual_seed(0))
        return PixelSet.from_indices(order[:count].sort().values, size)


class Replacement(nn.Module):
    """In place of the gate: the refined value as it is."""

    def forward(self, coarse: Tensor, refined: Tensor, coarse_entropy: Tensor, refined_entropy: Tensor) -> tuple[Tensor, Tensor]:
        """See ``ValueBlend.forward``."""
        return torch.zeros_like(coarse), refined


def variants(preset: Preset, load: Callable[[Path | str], Refiner[Any]]) -> dict[str, Variant]:
    """Refiner and parts by name."""
    paper, direct, sparse = load(preset.refiner), load(preset.refiner), load("sparse")
    assert isinstance(direct, PaperRefiner)
    direct.network.gate = Replacement()  # type: ignore[assignment]  # the same arguments and answers

    def selecting(select: Callable[[Selector], Selector]) -> Callable[[CoarseModel], Parts]:
        return lambda coarse: replace(preset.parts(coarse), selector=select(preset.parts(coarse).selector))

    return {
        "paper": (paper, preset.parts),
        "paper, random selection": (paper, selecting(AsManyAtRandom)),
        "paper, direct replacement": (direct, preset.parts),
        "paper, guided upsampling": (paper, lambda coarse: replace(preset.parts(coarse), upsample=USUAL.upsample)),
        "paper, ranked selection": (paper, selecting(lambda _: USUAL.selector)),
        "paper, refiner sparse": (sparse, preset.parts),
        "default, refiner paper": (paper, lambda coarse: USUAL),
        "default": (sparse, lambda coarse: USUAL),
    }


def main() -> None:
    """Print and store the mean figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, metavar="DIR")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--coarse", type=Path, metavar="DIR2", help="stored coarse maps, with features")
    source.add_argument("--model", metavar="NAME", help="a coarse model")
    parser.add_argument("--weights", type=Path, help="its checkpoint")
    parser.add_argument("--refiner", type=Path, help="a checkpoint of refiner paper (default: the bundled one)")
    parser.add_argument("--entropy-threshold", type=float, default=0.0, help="0: as calibrated")
    parser.add_argument("--align", choices=("none", "median", "scale-shift"), default="median")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    device = torch.device("cpu")
    preset = load_preset("paper", args.refiner, args.entropy_threshold)
    chosen = variants(preset, lambda name: load_refiner(name, device, precision="float32"))
    model = None if args.model is None else load_coarse(args.model, weights=args.weights, device="cpu")
    rows = defaultdict[str, Row](lambda: defaultdict(list))
    for pair in find_pairs(args.scenes):
        sample = read_pair(pair)
        coarse: CoarseModel = given(model, sample) if model else read_stored(stored_path(args.coarse, pair.name), device)
        for name, (refiner, parts) in chosen.items():
            measure(sample, Retrofit(coarse, refiner, BUDGET, parts=parts(coarse)), rows[name], args.align)
        print(pair.name, flush=True)
    means = {name: {key: round(float(np.nanmean(v)), 4) for key, v in row.items()} for name, row in rows.items()}
    document = {"align": args.align, "budget": BUDGET, "coarse": args.model or "files", "rows": means}
    args.json.write_text(json.dumps(document, indent=1) + "\n")
    for name, row in means.items():
        print(f"{name:28s}" + "  ".join(f"{key} {row[key]:.4g}" for key in SHOWN))


def given(model: CoarseModel, sample: Sample) -> GivenCoarse:
    """The model's answer to a frame, once for all variants."""
    frame = sample.frame
    with torch.inference_mode():
        prediction = model.predict(torch.from_numpy(frame.image), frame.camera)
    return GivenCoarse(prediction, model.name, model.claim)


def measure(sample: Sample, retrofit: Retrofit, row: Row, align: Any) -> None:
    """Add one frame's figures to a row of the table."""
    assert sample.frame.camera is not None, "samples come with intrinsics"
    if not row:
        retrofit(sample.frame)  # the first frame waits for what is compiled
    result = retrofit(sample.frame)
    stretched = upsample(result.coarse, (sample.depth.shape[0], sample.depth.shape[1]), "bilinear").numpy()
    alignment = fit(stretched, sample.depth, align, inverse=retrofit.coarse.claim.inverse)
    band = edge_band(sample.depth)
    figures = figures_of(alignment.apply(result.depth.numpy()), sample.depth, band, sample.frame.camera.fx)
    wanted = high_error(alignment.apply(stretched), sample.depth, band)
    figures["coverage"] = coverage(result.selection.mask().numpy(), wanted)
    figures["refined"] = result.refined_pixels / sample.depth.size
    figures["gate"] = float(result.gate.mean()) if result.refined_pixels else float("nan")
    figures["ms"] = sum(result.times_ms.values())
    for key in SHOWN:
        row[key].append(figures[key])


if __name__ == "__main__":
    main()
