#!/usr/bin/env python3
"""Which score finds the pixels that need refinement? Coverage of the high-error pixels (docs/evaluation.md) by score and budget.

python benchmarks/make_validation_scenes.py --out DIR --simulated DIR2
python benchmarks/ablate_selection.py DIR --coarse DIR2 --json benchmarks/results/ablate_selection.json
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.metrics.alignment import fit
from depth_retrofit_ros.evaluation.metrics.coverage import BUDGETS, coverage, high_error
from depth_retrofit_ros.evaluation.metrics.edges import edge_band
from depth_retrofit_ros.selection.contrast import contrast
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import doubt, uncertainty
from depth_retrofit_ros.upsampling.interpolation import upsample

Table = dict[str, dict[str, list[float]]]


def main() -> None:
    """Print and store the mean coverage per score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, metavar="DIR")
    parser.add_argument("--coarse", type=Path, metavar="DIR2", help="stored coarse maps; otherwise --model runs")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    model = None if args.coarse else load_coarse(args.model, weights=args.weights, device="cpu")
    table: Table = defaultdict(lambda: defaultdict(list))
    for pair in find_pairs(args.scenes):
        sample = read_pair(pair)
        coarse_model: CoarseModel = model or read_stored(stored_path(args.coarse, pair.name), torch.device("cpu"))
        coarse = limit_far(coarse_model.predict(torch.from_numpy(sample.frame.image), sample.frame.camera), coarse_model.claim)
        measure(coarse, torch.from_numpy(sample.frame.image), sample.depth, table)
    means = {name: {key: float(np.nanmean(values)) for key, values in row.items()} for name, row in table.items()}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"coarse": "simulated" if args.coarse else args.model, "coverage": means}, indent=1) + "\n")
    for name, row in means.items():
        print(f"{name:28s}" + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))


def measure(coarse: CoarsePrediction, image: torch.Tensor, truth: np.ndarray, table: Table) -> None:
    """Add one frame's coverage under every score to the table."""
    size = (truth.shape[0], truth.shape[1])
    stretched = upsample(coarse.depth, size, "bilinear").numpy()
    aligned = fit(stretched, truth, "median", inverse=False).apply(stretched)
    wanted = high_error(aligned, truth, edge_band(truth))
    shown = contrast(image, (coarse.depth.shape[0], coarse.depth.shape[1]))
    for mode in ("entropy", "edges", "both"):
        score = uncertainty(coarse, shown, mode)
        variants = {mode: score, f"{mode}, widened": widened(score), f"{mode}, without contrast": doubt(coarse, mode)}
        for name, variant in variants.items():
            for budget in BUDGETS:
                pixels = select_top(variant, size, round(budget * truth.size))
                table[name][f"{budget:g}"].append(coverage(pixels.mask().numpy(), wanted))


def widened(score: torch.Tensor) -> torch.Tensor:
    """Maximum, then mean, over 3×3 coarse pixels: [h, w] → [h, w]."""
    return F.avg_pool2d(F.max_pool2d(score[None, None], 3, 1, 1), 3, 1, 1, count_include_pad=False)[0, 0]


if __name__ == "__main__":
    main()
