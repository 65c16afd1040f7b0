#!/usr/bin/env python3
"""How good can a refiner become that is taught this target? The target itself in place of the refined depth, against the truth.

python benchmarks/make_validation_scenes.py --out DIR --simulated DIR2
python benchmarks/ablate_targets.py DIR --coarse DIR2 --json benchmarks/results/ablate_targets.json
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair
from depth_retrofit_ros.evaluation.metrics.edges import edge_band, soft_edge_error
from depth_retrofit_ros.refinement.pixels.features import cell_of
from depth_retrofit_ros.selection.contrast import contrast
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import uncertainty
from depth_retrofit_ros.training.refiner import FAR_FACTOR
from depth_retrofit_ros.training.surface_targets import SurfaceSearch, log_ratio
from depth_retrofit_ros.upsampling.edge_aware import guided_upsample, thumbnail

BEFORE = SurfaceSearch(radius=4, least_pure=1e-3, least_like=1e-4)
SEARCHES = [BEFORE] + [SurfaceSearch(radius=radius) for radius in (4, 6, 8, 12)]
SEARCHES += [SurfaceSearch(least_pure=least) for least in (1e-3, 3e-4, 3e-5, 1e-5, 1e-6)]
SEARCHES += [SurfaceSearch(least_like=least) for least in (1e-4, 3e-3, 1e-2)]
BUDGET = 0.1
FEWEST = 200  # pixels of a class, for a frame to have a figure of it
CLEAR = np.log(1.1)  # by which a thin thing stands before what is behind
Table = dict[str, dict[str, list[float]]]


def main() -> None:
    """Print and store the mean figures: L1 of ln depth at the selected pixels by class, SEE [m] of the frame."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, metavar="DIR")
    parser.add_argument("--coarse", type=Path, metavar="DIR2", required=True, help="stored coarse maps")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    table: Table = defaultdict(lambda: defaultdict(list))
    for pair in find_pairs(args.scenes):
        measure(read_pair(pair), stored_path(args.coarse, pair.name), table)
        print(pair.name, flush=True)
    means = {name: {key: round(float(np.mean(values)), 4) for key, values in row.items()} for name, row in table.items()}
    args.json.write_text(json.dumps(means, indent=1) + "\n")
    for name, row in means.items():
        print(f"{name:44s}" + "  ".join(f"{key} {value:.4f}" for key, value in row.items()))


def measure(sample: Sample, coarse_file: Path, table: Table) -> None:
    """Add one frame's figures under every search to the table."""
    image = torch.from_numpy(sample.frame.image)
    stored = read_stored(coarse_file, torch.device("cpu"))
    coarse = limit_far(stored.prediction, stored.claim)
    size, known = (image.shape[0], image.shape[1]), np.isfinite(sample.depth)
    base = guided_upsample(coarse.depth, image, thumbnail(image, coarse.depth)).log().numpy()
    score = uncertainty(coarse, contrast(image, (coarse.depth.shape[0], coarse.depth.shape[1])))
    pixels = select_top(score, size, round(BUDGET * known.size)).indices.clone()
    log_true = np.log(np.where(known, sample.depth, FAR_FACTOR * sample.depth[known].max())).astype(np.float32)
    low = F.interpolate(torch.from_numpy(log_true)[None, None], size=tuple(coarse.depth.shape), mode="nearest-exact")[0, 0]

    selected = np.zeros(size, bool)
    selected.flat[pixels.numpy()] = True
    classes = {name: where & known & selected for name, where in classes_of(log_true, size[1] / coarse.depth.shape[1]).items()}
    shift = np.median((log_true - base)[known])
    assert sample.frame.camera is not None, "samples come with intrinsics"

    def add(name: str, log_depth: np.ndarray) -> None:
        off = np.abs(log_depth + shift - log_true)
        for kind, where in classes.items():
            if where.sum() > FEWEST:
                table[name][kind].append(float(off[where].mean()))
        table[name]["see"].append(soft_edge_error(np.exp(log_depth + shift), sample.depth, sample.frame.camera.fx))

    add("upsampled", base)
    at, cells = torch.from_numpy(log_true).flatten()[pixels], cell_of(pixels, size, (low.shape[0], low.shape[1]))
    for search in SEARCHES:
        log_depth = base.copy()
        log_depth.flat[pixels.numpy()] = (at + log_ratio(at, *cells, low, coarse.depth.log(), search)).numpy()
        add(f"{search.radius} cells, pure {search.least_pure:g}, like {search.least_like:g}", log_depth)


def classes_of(log_true: np.ndarray, cell_px: float) -> dict[str, np.ndarray]:
    """bool [H, W] each: near things and gaps thinner than two coarse cells, other edges, elsewhere."""
    side = 2 * round(cell_px) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    thin = cv2.morphologyEx(log_true, cv2.MORPH_CLOSE, kernel) - log_true > CLEAR
    gaps = (log_true - cv2.morphologyEx(log_true, cv2.MORPH_OPEN, kernel) > CLEAR) & ~thin
    band = edge_band(np.exp(log_true))
    return {"thin": thin, "gaps": gaps, "edges": band & ~thin & ~gaps, "elsewhere": ~band & ~thin & ~gaps}


if __name__ == "__main__":
    main()
