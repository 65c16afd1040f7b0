#!/usr/bin/env python3
"""How many pixels, and pixels or tiles? The bundled refiner at several budgets, on the pixels that the score ranks highest and on
square tiles of as many pixels.

    python benchmarks/make_validation_scenes.py --out DIR --simulated DIR2
    python benchmarks/ablate_budget.py DIR --coarse DIR2 --json benchmarks/results/ablate_budget.json
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import figures_of
from depth_retrofit_ros.evaluation.metrics.alignment import fit
from depth_retrofit_ros.evaluation.metrics.coverage import BUDGETS, coverage, high_error
from depth_retrofit_ros.evaluation.metrics.edges import edge_band
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import upsample

TILES = (8, 16, 32)  # px
SHOWN = ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "coverage", "refine_ms")
Rows = dict[str, dict[str, list[float]]]


class Tiled(Retrofit):
    """Refines whole tiles: those with the highest mean score, as many as the budget holds."""

    def __init__(self, coarse: CoarseModel, refiner: Refiner[Any], budget: float, side: int) -> None:
        super().__init__(coarse, refiner, budget)
        self.side = side

    def select(
        self,
        coarse: CoarsePrediction,
        image: torch.Tensor,
        other: CoarsePrediction | None = None,
        claim: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, PixelSet]:
        score, _ = super().select(coarse, image, other, claim)
        size = image.shape[:2]
        rows, columns = (-(-n // self.side) for n in size)
        by_tile = F.interpolate(score[None, None], size=(rows, columns), mode="bilinear", antialias=True, align_corners=False)
        chosen = torch.zeros(rows * columns, dtype=torch.bool)
        chosen[by_tile.flatten().topk(round(self.budget * rows * columns)).indices] = True
        mask = chosen.view(rows, columns).repeat_interleave(self.side, 0).repeat_interleave(self.side, 1)
        return score, PixelSet.from_mask(mask[: size[0], : size[1]].contiguous())


def main() -> None:
    """Print and store the mean figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, metavar="DIR")
    parser.add_argument("--coarse", type=Path, metavar="DIR2", required=True, help="stored coarse maps")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    refiner = load_refiner(None, torch.device("cpu"), precision="float32")
    rows = defaultdict[str, dict[str, list[float]]](lambda: defaultdict(list))
    for pair in find_pairs(args.scenes):
        coarse = read_stored(stored_path(args.coarse, pair.name), torch.device("cpu"))
        for budget in (0.0, *BUDGETS):
            measure(read_pair(pair), Retrofit(coarse, refiner, budget), rows[f"pixels {budget:g}"])
        for side in TILES:
            measure(read_pair(pair), Tiled(coarse, refiner, 0.1, side), rows[f"tiles of {side} px 0.1"])
        print(pair.name, flush=True)
    means = {name: {key: round(float(np.nanmean(v)), 4) for key, v in row.items()} for name, row in rows.items()}
    args.json.write_text(json.dumps(means, indent=1) + "\n")
    for name, row in means.items():
        print(f"{name:24s}" + "  ".join(f"{key} {row[key]:.4g}" for key in SHOWN))


def measure(sample: Sample, retrofit: Retrofit, row: dict[str, list[float]]) -> None:
    """Add one frame's figures to a row of the table."""
    assert sample.frame.camera is not None, "samples come with intrinsics"
    result = retrofit(sample.frame)
    stretched = upsample(result.coarse, (sample.depth.shape[0], sample.depth.shape[1]), "bilinear").numpy()
    alignment = fit(stretched, sample.depth, "median", inverse=False)
    band = edge_band(sample.depth)
    figures = figures_of(alignment.apply(result.depth.numpy()), sample.depth, band, sample.frame.camera.fx)
    wanted = high_error(alignment.apply(stretched), sample.depth, band)
    figures["coverage"] = coverage(result.selection.mask().numpy(), wanted)
    figures["refine_ms"] = result.times_ms["refine"]
    for key in SHOWN:
        row[key].append(figures[key])


if __name__ == "__main__":
    main()
