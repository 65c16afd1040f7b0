#!/usr/bin/env python3
"""How good can a refiner become that is taught this target? The target itself in place of the refined depth, against the truth.

python benchmarks/make_validation_scenes.py --out DIR
python benchmarks/ablate_targets.py NAME=DIR2=COARSE ... NAME=DIR --json benchmarks/results/ablate_targets.json

Each set is a folder of frames with true depth, and one of stored coarse maps; without one, answers are simulated. ``reachable`` is
what a refiner can answer that chooses for each pixel the candidate nearest to the target.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair
from depth_retrofit_ros.evaluation.metrics.edges import boundary_f1, edge_band, soft_edge_error
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel
from depth_retrofit_ros.refinement.pixels.features import cell_of, pixel_features
from depth_retrofit_ros.selection.contrast import contrast
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import uncertainty
from depth_retrofit_ros.training import surface_targets
from depth_retrofit_ros.training.coarse_views import FAR_FACTOR, SIMULATED_CLAIM
from depth_retrofit_ros.training.degradations import point_sampled, random_degradation, simulate_coarse
from depth_retrofit_ros.training.pool import VIEW_SIDE
from depth_retrofit_ros.training.surface_targets import ScaleAndShift, SurfaceSearch, clearness, log_ratio
from depth_retrofit_ros.upsampling.edge_aware import guided_upsample, thumbnail

FLAT = 1e6  # a tail that does not fall off
SEARCHES = {f"{search.radius} cells": search for search in (SurfaceSearch(radius=radius) for radius in (12, 4, 8, 16))}
SEARCHES |= {f"other {other:g}": SurfaceSearch(other=other) for other in (1e-3, 1e-1)}
SEARCHES |= {"any depth": SurfaceSearch(tail=FLAT), "sigma 0.1": SurfaceSearch(sigma=0.1)}
WITHOUT = {
    "without scale and shift": ("fitted_line", lambda *_: ScaleAndShift()),
    "clear where the truth is": ("clear_cells", lambda true_map, _, known: clearness(true_map, known)),
}
BUDGET = 0.1
FEWEST = 200  # pixels of a class, for a frame to have a figure of it
CLEAR = np.log(1.1)  # by which a thin thing stands before what is behind
Row = dict[str, float]


def main() -> None:
    """Print and store the mean figures of each set: L1 of ln depth at the selected pixels by class; SEE [m], F1 and the relative
    error at edges of the frame."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=DIR[=COARSE]")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    result = {}
    for name, frames, *stored in (text.split("=") for text in args.sets):
        rows: dict[str, list[Row]] = defaultdict(list)
        for number, pair in enumerate(find_pairs(Path(frames))):
            sample = read_pair(pair)
            coarse = answer(Path(stored[0]), sample) if stored else simulated(number, sample)
            for search, row in measure(sample, coarse):
                rows[search].append(row)
            print(name, pair.name, flush=True)
        result[name] = {search: means(each) for search, each in rows.items()}
        for search, row in result[name].items():
            print(f"{search:64s}" + "  ".join(f"{key} {value:.4f}" for key, value in row.items()), flush=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def means(rows: list[Row]) -> Row:
    """Over the frames that have the figure."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: round(float(np.mean([row[key] for row in rows if key in row])), 4) for key in keys}


def answer(folder: Path, sample: Sample) -> CoarsePrediction:
    """The stored answer to a frame, limited as at run time."""
    stored = read_stored(stored_path(folder, sample.name), torch.device("cpu"))
    return limit_far(stored.prediction, stored.claim)


def simulated(number: int, sample: Sample) -> CoarsePrediction:
    """An answer to a frame of that number as training simulates them, limited as at run time."""
    rng = np.random.default_rng(number)
    depth, features = simulate_coarse(rng, point_sampled(sample.depth, VIEW_SIDE, FAR_FACTOR), random_degradation(rng))
    return limit_far(CoarsePrediction(torch.from_numpy(depth), torch.from_numpy(features)), SIMULATED_CLAIM)


def measure(sample: Sample, coarse: CoarsePrediction) -> Iterator[tuple[str, Row]]:
    """One frame's figures: of the upsampled map, of the true depth at the selected pixels, and of the target under every search."""
    image = torch.from_numpy(sample.frame.image)
    size, known = (image.shape[0], image.shape[1]), np.isfinite(sample.depth)
    small = thumbnail(image, coarse.depth)
    score = uncertainty(coarse, contrast(image, (coarse.depth.shape[0], coarse.depth.shape[1])))
    upsampled = guided_upsample(coarse.depth, image, small)
    selected = select_top(score, size, round(BUDGET * known.size))
    features = pixel_features(image, small, coarse.depth, upsampled, score, selected)
    pixels, base = selected.indices.clone(), upsampled.log().numpy()
    choices = features.candidates.numpy() + base.flat[pixels.numpy()][:, None]
    log_true = np.log(np.where(known, sample.depth, FAR_FACTOR * sample.depth[known].max())).astype(np.float32)
    low = F.interpolate(torch.from_numpy(log_true)[None, None], size=tuple(coarse.depth.shape), mode="nearest-exact")[0, 0]

    chosen = np.zeros(size, bool)
    chosen.flat[pixels.numpy()] = True
    classes = {name: where & known & chosen for name, where in classes_of(log_true, size[1] / coarse.depth.shape[1]).items()}
    band, shift = edge_band(sample.depth), np.median((log_true - base)[known])
    camera = sample.frame.camera
    assert camera is not None, "samples come with intrinsics"

    def figures(values: np.ndarray) -> Row:
        log_depth = base.copy()
        log_depth.flat[pixels.numpy()] = values
        off = np.abs(log_depth + shift - log_true)
        depth = np.exp(log_depth + shift)
        row = {kind: float(off[where].mean()) for kind, where in classes.items() if where.sum() > FEWEST}
        nearest = np.abs(choices - values[:, None]).argmin(1)
        log_depth.flat[pixels.numpy()] = np.take_along_axis(choices, nearest[:, None], 1)[:, 0]
        off = np.abs(log_depth + shift - log_true)
        row |= {f"reachable {kind}": float(off[where].mean()) for kind, where in classes.items() if where.sum() > FEWEST}
        row["see"] = soft_edge_error(depth, sample.depth, camera.fx)
        return row | {"f1": boundary_f1(depth, sample.depth), "absrel at edges": abs_rel(depth, sample.depth, band)}

    at, cells = torch.from_numpy(log_true).flatten()[pixels], cell_of(pixels, size, (low.shape[0], low.shape[1]))
    yield "upsampled", figures(base.flat[pixels.numpy()])
    yield "truth", figures(at.numpy() - shift)
    for how, search in SEARCHES.items():
        yield how, figures((at + log_ratio(at, *cells, low, coarse.depth.log(), search)).numpy())
    for how, (name, instead) in WITHOUT.items():
        with patch.object(surface_targets, name, instead):
            yield how, figures((at + log_ratio(at, *cells, low, coarse.depth.log())).numpy())


def classes_of(log_true: np.ndarray, cell_px: float) -> dict[str, np.ndarray]:
    """bool [H, W] each: near things and gaps thinner than two coarse cells, other edges, elsewhere."""
    side = 2 * round(cell_px) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    thin = cv2.morphologyEx(log_true, cv2.MORPH_CLOSE, kernel) - log_true > CLEAR
    gaps = (log_true - cv2.morphologyEx(log_true, cv2.MORPH_OPEN, kernel) > CLEAR) & ~thin
    band = edge_band(np.exp(log_true))
    return {"thin": thin, "gaps": gaps, "edges": band & ~thin & ~gaps, "elsewhere": ~band & ~thin & ~gaps}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
