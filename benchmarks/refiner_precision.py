#!/usr/bin/env python3
"""What the refiner's type costs and gains on this CPU: each type that backend `cpu` has here against float32, in one run.

    python benchmarks/make_validation_scenes.py --out DIR --simulated DIR2
    OMP_NUM_THREADS=1 python benchmarks/refiner_precision.py DIR --coarse DIR2 --json benchmarks/results/refiner_precision.json

Accuracy on frames with stored coarse maps; times with the model `compact` at 2560x1440, the types taking turns. Where the machine
is not idle, compare the least CPU times. `--accuracy-only` keeps the times that OUT has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.bench.stages import rendered_frame
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.device.precisions import name_of
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import figures_of
from depth_retrofit_ros.evaluation.metrics.alignment import fit
from depth_retrofit_ros.evaluation.metrics.edges import edge_band
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.pixels.refiner import Refined, SparseRefiner, load_sparse_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.upsampling.interpolation import upsample

CPU, SIZE, BUDGET = torch.device("cpu"), (1440, 2560), 0.1
EXACT = "float32"
FIGURES = ("edge_abs_rel", "flat_abs_rel", "boundary_f1", "see")
Table = dict[str, Any]


class TimedRefiner(SparseRefiner):
    """Notes wall and CPU time [ms] of each ``refine``."""

    def __init__(self, refiner: SparseRefiner) -> None:
        super().__init__(refiner.network, refiner.backend, refiner.dtype)
        self.wall_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def refine(self, given: RefinerInput) -> Refined:
        """See ``Refiner.refine``."""
        start, used = time.perf_counter(), time.process_time()
        refined = super().refine(given)
        self.wall_ms.append(1e3 * (time.perf_counter() - start))
        self.cpu_ms.append(1e3 * (time.process_time() - used))
        return refined


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, metavar="DIR", help="frames with true depth that no training used")
    parser.add_argument("--coarse", type=Path, metavar="DIR2", required=True, help="stored coarse maps")
    parser.add_argument("--rounds", type=int, default=30, help="timed frames of each type (default: 30)")
    parser.add_argument("--accuracy-only", action="store_true")
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    args = parser.parse_args()
    backend = load_backend("cpu")
    if lack := backend.lack_of(torch.bfloat16):
        raise SystemExit(f"nothing to compare: backend cpu computes in float32 alone here ({lack})")
    refiners = {name_of(dtype): load_sparse_refiner(None, CPU, "cpu", name_of(dtype)) for dtype in reversed(backend.types)}
    document: Table = json.loads(args.json.read_text()) if args.accuracy_only else {}
    document["accuracy"] = accuracy(refiners, args.scenes, args.coarse)
    if not args.accuracy_only:
        document["machine"] = f"{machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        document["times"] = times(refiners, args.rounds)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(document, indent=1) + "\n")
    show(document)


def accuracy(refiners: dict[str, SparseRefiner], scenes: Path, stored: Path) -> Table:
    """Mean figures of each type, its differences from float32, and the largest of one frame.

    moved_p50, moved_p99: over the refined pixels, of |ln(depth / depth in float32)|.
    """
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    pairs = find_pairs(scenes)
    for pair in pairs:
        sample, coarse = read_pair(pair), read_stored(stored_path(stored, pair.name), CPU)
        assert sample.frame.camera is not None, "samples come with intrinsics"
        results = {word: Retrofit(coarse, refiner, BUDGET)(sample.frame) for word, refiner in refiners.items()}
        exact = results[EXACT]
        stretched = upsample(exact.coarse, (sample.depth.shape[0], sample.depth.shape[1]), "bilinear").numpy()
        alignment, band = fit(stretched, sample.depth, "median", coarse.claim.inverse), edge_band(sample.depth)
        chosen = exact.selection.mask().numpy()
        for word, result in results.items():
            depth = result.depth.numpy()
            figures = figures_of(alignment.apply(depth), sample.depth, band, sample.frame.camera.fx)
            for key in FIGURES:
                rows[word][key].append(figures[key])
            moved = np.abs(np.log(depth[chosen] / exact.depth.numpy()[chosen]))
            for key, value in (("moved_p50", np.median(moved)), ("moved_p99", np.percentile(moved, 99))):
                rows[word][key].append(float(value))
        print(pair.name, flush=True)
    means = {word: {key: float(np.nanmean(values)) for key, values in row.items()} for word, row in rows.items()}
    entry: Table = {"frames": len(pairs), "budget": BUDGET, "means": means, "differences": {}}
    for word in means.keys() - {EXACT}:
        off = {key: np.subtract(rows[word][key], rows[EXACT][key]) for key in FIGURES}
        entry["differences"][word] = {
            key: {"mean": float(np.nanmean(values)), "largest": float(np.nanmax(np.abs(values)))} for key, values in off.items()
        }
    return entry


def times(refiners: dict[str, SparseRefiner], rounds: int) -> Table:
    """Wall and CPU time [ms] of the whole method and of ``refine``, least and median, the types taking turns."""
    coarse, frame = load_coarse("compact", weights=None, device="cpu"), rendered_frame(SIZE)
    timed = {word: TimedRefiner(refiner) for word, refiner in refiners.items()}
    methods = {word: Retrofit(coarse, refiner, BUDGET) for word, refiner in timed.items()}
    wall: dict[str, list[float]] = {word: [] for word in methods}
    used: dict[str, list[float]] = {word: [] for word in methods}
    for _ in range(rounds + 1):
        for word, method in methods.items():
            start, start_used = time.perf_counter(), time.process_time()
            method(frame)
            wall[word].append(1e3 * (time.perf_counter() - start))
            used[word].append(1e3 * (time.process_time() - start_used))
    rows = {
        word: {"whole": summary(wall[word], used[word]), "refine": summary(timed[word].wall_ms, timed[word].cpu_ms)}
        for word in methods
    }
    return {"size": list(SIZE), "budget": BUDGET, "model": coarse.name, "rounds": rounds, "types": rows}


def summary(wall_ms: list[float], cpu_ms: list[float]) -> dict[str, float]:
    """Of all but the first, which compiles."""
    figures = {"ms": wall_ms[1:], "cpu_ms": cpu_ms[1:]}
    least = {f"{key}_min": min(values) for key, values in figures.items()}
    return least | {f"{key}_p50": float(np.median(values)) for key, values in figures.items()}


def show(document: Table) -> None:
    """As the table of docs/engines.md."""
    keys = (*FIGURES, "moved_p50", "moved_p99")
    print("| type | refine, CPU ms | whole, CPU ms | " + " | ".join(keys) + " |\n" + "|---" * (3 + len(keys)) + "|")
    for word, row in document["accuracy"]["means"].items():
        spent = document["times"]["types"][word]
        cells = [f"{spent[part]['cpu_ms_min']:.0f}" for part in ("refine", "whole")] + [
            f"{row[key]:.2g}" if "moved" in key else f"{row[key]:.4f}" for key in keys
        ]
        print(f"| {word} | {' | '.join(cells)} |")
    for word, row in document["accuracy"]["differences"].items():
        print(f"{word}: " + ", ".join(f"{key} {d['mean']:+.1e} (largest {d['largest']:.1e})" for key, d in row.items()))


if __name__ == "__main__":
    main()
