#!/usr/bin/env python3
"""The parameters of the baseline upsamplers ``guided`` and ``jbu``: a grid search on what ``make_validation_scenes.py`` made.

Use a seed that no evaluation uses. Figures are relative to interpolating inverse depth bilinearly, as geometric means over the
frames. Chosen is the least product of AbsRel in the edge band and AbsRel outside of it.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.evaluation.baselines.guided_filter import guided_upsample
from depth_retrofit_ros.evaluation.baselines.joint_bilateral import joint_bilateral_upsample
from depth_retrofit_ros.evaluation.baselines.upsampling import bilinear, guides
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.metrics.alignment import fit
from depth_retrofit_ros.evaluation.metrics.edges import boundary_f1, edge_band, soft_edge_error
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel

SPACES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "inverse": (np.reciprocal, lambda v: np.reciprocal(np.maximum(v, 1e-4))),
    "log": (np.log, np.exp),
}
BASELINES: dict[str, tuple[Callable[..., np.ndarray], list[tuple[float, float]]]] = {
    "guided": (guided_upsample, list(itertools.product((1, 2, 3), (1e-5, 1e-4, 1e-3, 1e-2)))),
    "jbu": (joint_bilateral_upsample, list(itertools.product((1.0, 1.5, 2.0, 3.0), (0.02, 0.04, 0.08)))),
}


def main() -> None:
    """Search, print the table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="frames with true depth")
    parser.add_argument("--coarse", type=Path, required=True, metavar="DIR2", help="their coarse maps")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    figures: dict[str, list[list[float]]] = {}
    for pair in find_pairs(args.folder):
        sample = read_pair(pair)
        truth, camera = sample.depth, sample.frame.camera
        assert camera is not None
        coarse = read_stored(stored_path(args.coarse, pair.name), torch.device("cpu")).prediction.depth
        band = edge_band(truth)
        aligned = fit(bilinear(sample.frame.image, coarse), truth, "median", inverse=False)
        for name, depth in upsamplings(sample.frame.image, coarse):
            d = aligned.apply(depth)
            row = [abs_rel(d, truth, band), abs_rel(d, truth, ~band), soft_edge_error(d, truth, camera.fx), boundary_f1(d, truth)]
            figures.setdefault(name, []).append(row)
    report(figures, args.json)


def upsamplings(image: np.ndarray, coarse: torch.Tensor) -> list[tuple[str, np.ndarray]]:
    """Every variant's name and depth map."""
    guide, coarse_guide = guides(image, coarse)
    results = []
    for space, (encode, decode) in SPACES.items():
        low = encode(coarse.numpy())
        results.append(
            (f"bilinear {space}", decode(cv2.resize(low, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)))
        )
        for baseline, (upsample, grid) in BASELINES.items():
            results += [(f"{baseline} {space} {a:g} {b:g}", decode(upsample(guide, coarse_guide, low, a, b))) for a, b in grid]
    return results


def report(figures: dict[str, list[list[float]]], out: Path | None) -> None:
    """Edge AbsRel, flat AbsRel and SEE relative to bilinear, and mean boundary F1; the best five of each baseline."""
    base = np.array(figures["bilinear inverse"])
    table = {}
    for name, rows in figures.items():
        values = np.array(rows)
        ratios = np.exp(np.nanmean(np.log(values[:, :3] / base[:, :3]), axis=0))
        table[name] = dict(zip(("edge", "flat", "see", "f1"), [*ratios.tolist(), float(np.nanmean(values[:, 3]))], strict=True))
    for baseline in ("bilinear", *BASELINES):
        names = [name for name in table if name.startswith(baseline)]
        for name in sorted(names, key=lambda name: table[name]["edge"] * table[name]["flat"])[:5]:
            print(f"{name:26}" + "  ".join(f"{k} {v:.4f}" for k, v in table[name].items()))
    if out is not None:
        out.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
