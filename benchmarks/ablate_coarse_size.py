#!/usr/bin/env python3
"""Where does refining beat a larger coarse pass of the same time? Accuracy and time over the size of the coarse map.

    python benchmarks/ablate_coarse_size.py DIR ... --json benchmarks/results/coarse_size.json [--meter WEIGHTS]
    python benchmarks/ablate_coarse_size.py DIR ... --json benchmarks/results/coarse_size.json --times
    python benchmarks/ablate_coarse_size.py --json benchmarks/results/coarse_size.json --plot docs/images/coarse_size.png

DIR: pairs of images and true depth, as ``depth-retrofit evaluate`` takes them. Each source answers each frame at several sizes (the
long side of its input [px]; of a simulated model that of its answer), which is stretched, or refined; METER has one size.
``accuracy_per_pixels``: how many times the pixels a stretched answer would need for the accuracy of a refined one, by size.
``enlarged``: maps of ``ENLARGED`` px that were made as large as the frame, as programs store them, and refined on several grids.
``--times`` measures the wall times on the first frame of the largest size and adds them to the JSON that is there, for a quiet
machine: the best of ``ROUNDS``. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.claim import stored_claim
from depth_retrofit_ros.coarse.map_detail import Grid
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.evaluation.baselines.upsampling import bilinear
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import figures_of
from depth_retrofit_ros.evaluation.metrics.alignment import Mode, fit
from depth_retrofit_ros.evaluation.metrics.edges import edge_band
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.training.coarse_views import FAR_FACTOR
from depth_retrofit_ros.training.degradations import REAL, point_sampled, simulate_coarse

BUDGET = 0.1
SIZES = (128, 192, 256, 384, 512, 640, 768, 1024, 1536)  # px
SIMULATED_SIZES = (128, 192, 256, 384, 518, 768, 1036, 1554)
FINEST = 2  # times the answer that is simulated: the view that it is made of
DRAWS = 3  # simulated answers to each frame at each size
ROUNDS = 3
ENLARGED = 518
GRIDS: tuple[Grid, ...] = ("native", 1036, 777, 518, 388, None)
SHOWN = ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "abs_rel")
COMPACT, METER, SIMULATED = "compact", "meter-nyu", "simulated"
Source = Callable[[Sample, int, int], CoarseModel]
Curve = dict[str, dict[str, dict[str, float]]]  # size → method → figure


def main() -> None:
    """Measure and store, add times, or plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="DIR")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--meter", type=Path, metavar="WEIGHTS", help="the public checkpoint of meter-nyu, or its folder")
    parser.add_argument("--times", action="store_true", help="measure the times only")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw what is stored")
    args = parser.parse_args()
    if args.plot is not None:
        plot(json.loads(args.json.read_text()), args.plot)
        return
    pairs = [pair for folder in args.folders for pair in find_pairs(folder)]
    samples: Iterator[Sample] = (read_pair(pair) for pair in pairs)
    refiner = load_refiner(None, torch.device("cpu"), precision="float32")
    if args.times:
        document = json.loads(args.json.read_text())
        largest = max(samples, key=lambda sample: sample.depth.size)
        document["times"] = {
            "size": list(largest.depth.shape),
            "threads": torch.get_num_threads(),
            **times(largest, refiner, args.meter),
        }
    else:
        document = {"frames": len(pairs), "budget": BUDGET, "accuracy": accuracy(samples, refiner, args.meter)}
        document["accuracy_per_pixels"] = {name: worth(curve) for name, curve in document["accuracy"].items()}
        args.json.write_text(json.dumps(document, indent=1) + "\n")
        document["enlarged"] = enlarged((read_pair(pair) for pair in pairs), refiner)
    args.json.write_text(json.dumps(document, indent=1) + "\n")
    show(document)


def sources(meter: Path | None) -> dict[str, tuple[Source, Sequence[int], int, Mode]]:
    """By name: the model for (frame, size, draw), its sizes, how many draws there are, and the alignment of its answers."""
    model: Any = {}

    def live(name: str, weights: Path | None) -> Source:
        def of(sample: Sample, size: int, draw: int) -> CoarseModel:
            key = (name, size)
            if key not in model:
                fixed = name == METER
                model[key] = load_coarse(name, weights=weights, device="cpu", size=None if fixed else size)
            loaded: CoarseModel = model[key]
            return loaded

        return of

    found: dict[str, tuple[Source, Sequence[int], int, Mode]] = {COMPACT: (live(COMPACT, None), SIZES, 1, "median")}
    if meter is not None:
        found[METER] = (live(METER, meter), (256,), 1, "median")
    found[SIMULATED] = (simulated, SIMULATED_SIZES, DRAWS, "scale-shift")
    return found


def simulated(sample: Sample, size: int, draw: int) -> StoredCoarse:
    """What a foundation model might answer at this long side, with the errors that were measured on such models."""
    rng = np.random.default_rng((len(sample.name), sum(map(ord, sample.name)), draw))
    view = point_sampled(sample.depth, min(FINEST * size, max(sample.depth.shape)), FAR_FACTOR)
    depth, features = simulate_coarse(rng, view, REAL, (size, size))
    prediction = CoarsePrediction(torch.from_numpy(depth), torch.from_numpy(features))
    return StoredCoarse(prediction, has_features=True, claim=stored_claim(metric=False))


def accuracy(samples: Iterator[Sample], refiner: Refiner[Any], meter: Path | None) -> dict[str, Curve]:
    """The median figures of each source at each size, stretched and refined (a few simulated answers cannot be aligned at all)."""
    rows: dict[tuple[str, int, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        for name, (source, sizes, draws, align) in sources(meter).items():
            for size in sizes:
                for draw in range(draws):
                    for method, figures in measured(sample, Retrofit(source(sample, size, draw), refiner, BUDGET), align).items():
                        for key in SHOWN:
                            rows[name, size, method][key].append(figures[key])
        print(sample.name, flush=True)
    curves: dict[str, Curve] = defaultdict(lambda: defaultdict(dict))
    for (name, size, method), row in rows.items():
        curves[name][str(size)][method] = {key: round(float(np.nanmedian(values)), 5) for key, values in row.items()}
    return curves


def measured(sample: Sample, retrofit: Retrofit, align: Mode) -> dict[str, dict[str, float]]:
    """Figures of one answer, stretched and refined; both share the alignment of the stretched one."""
    assert sample.frame.camera is not None, "samples come with intrinsics"
    result = retrofit(sample.frame)
    stretched = bilinear(sample.frame.image, result.coarse)
    alignment, band = fit(stretched, sample.depth, align, retrofit.coarse.claim.inverse), edge_band(sample.depth)
    maps = {"stretched": stretched, "refined": result.depth.numpy()}
    return {m: figures_of(alignment.apply(depth), sample.depth, band, sample.frame.camera.fx) for m, depth in maps.items()}


def enlarged(samples: Iterator[Sample], refiner: Refiner[Any]) -> dict[str, dict[str, float]]:
    """The median figures of the refined answers of ``ENLARGED`` px, as they are (``small``), and from maps as large as the frame
    that are brought to each of ``GRIDS``, see ``map_detail.grid_for``."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        for draw in range(DRAWS):
            small = simulated(sample, ENLARGED, draw)
            large = bilinear(sample.frame.image, small.prediction.depth)
            prediction = CoarsePrediction(torch.from_numpy(large), torch.zeros(1, *large.shape))
            grids = {str(grid or "by detail"): StoredCoarse(prediction, False, small.claim, grid) for grid in GRIDS}
            for name, coarse in {"small": small, **grids}.items():
                figures = measured(sample, Retrofit(coarse, refiner, BUDGET), "scale-shift")["refined"]
                for key in SHOWN:
                    rows[name][key].append(figures[key])
    return {name: {key: round(float(np.nanmedian(values)), 5) for key, values in row.items()} for name, row in rows.items()}


def worth(curve: Curve) -> dict[str, dict[str, float | None]]:
    """By size, how many times the pixels a stretched answer needs to be as accurate as the refined one: by AbsRel at edges and by
    boundary F1, interpolated in the logarithm of the size; None where no measured size is enough."""
    sizes = sorted(map(int, curve))
    return {
        str(size): {
            key: _times_the_pixels(
                sizes, [sign * curve[str(s)]["stretched"][key] for s in sizes], size, sign * curve[str(size)]["refined"][key]
            )
            for key, sign in (("edge_abs_rel", -1.0), ("boundary_f1", 1.0))
        }
        for size in sizes
    }


def _times_the_pixels(sizes: Sequence[int], scores: Sequence[float], size: int, wanted: float) -> float | None:
    """scores: of the stretched answers, more is better; wanted: that of the refined one at ``size``."""
    for low, high in zip(range(len(sizes)), range(1, len(sizes)), strict=False):
        if sizes[high] > size and scores[high] >= wanted:
            share = (wanted - scores[low]) / (scores[high] - scores[low])
            equal = sizes[low] * (sizes[high] / sizes[low]) ** min(1.0, max(0.0, share))
            return round((equal / size) ** 2, 2)
    return None


def times(sample: Sample, refiner: Refiner[Any], meter: Path | None) -> dict[str, dict[str, dict[str, float]]]:
    """Best wall time [ms] on this frame by live source and size: the coarse answer stretched, and refined."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, (source, sizes, _, _) in sources(meter).items():
        if name == SIMULATED:  # whose answers are not computed
            continue
        found[name] = {}
        for size in sizes:
            retrofit = Retrofit(source(sample, size, 0), refiner, BUDGET)
            retrofit(sample.frame)
            found[name][str(size)] = {
                "stretched_ms": best_ms(partial(stretch, retrofit, sample)),
                "refined_ms": best_ms(partial(retrofit, sample.frame)),
            }
            print(name, size, found[name][str(size)], flush=True)
    return found


def stretch(retrofit: Retrofit, sample: Sample) -> np.ndarray:
    """The coarse answer at the frame's size."""
    in_flight = retrofit.launch(sample.frame)
    return bilinear(sample.frame.image, in_flight.coarse.depth)


def best_ms(run: Callable[[], object]) -> float:
    """Of ``ROUNDS``."""
    best = math.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        best = min(best, 1e3 * (time.perf_counter() - start))
    return round(best, 1)


def show(document: dict[str, Any]) -> None:
    """The tables."""
    for name, row in document.get("enlarged", {}).items():
        print(f"enlarged   {name:16s} " + "  ".join(f"{key} {row[key]:.4f}" for key in SHOWN))
    for name, curve in document.get("accuracy", {}).items():
        for size, methods in curve.items():
            ms = document.get("times", {}).get(name, {}).get(size, {})
            for method, row in methods.items():
                figures = "  ".join(f"{key} {row[key]:.4f}" for key in SHOWN)
                print(f"{name:10s} {size:>5s} {method:10s} {figures}  ms {ms.get(method + '_ms', float('nan')):.0f}")
            print(f"{'':16s} worth {document['accuracy_per_pixels'][name][size]}")


def plot(document: dict[str, Any], path: Path) -> None:
    """AbsRel at edges and boundary F1: of ``compact`` over time, of the simulated models over size."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for row, (key, label) in zip(axes, (("edge_abs_rel", "AbsRel at edges"), ("boundary_f1", "boundary F1")), strict=True):
        for axis, name in zip(row, (COMPACT, SIMULATED), strict=True):
            curve, ms = document["accuracy"][name], document.get("times", {}).get(name)
            sizes = sorted(map(int, curve))
            usual = None if ms is None or name == SIMULATED else ms["256"]["stretched_ms"]
            for method, marker in (("stretched", "o-"), ("refined", "s-")):
                x = [s if usual is None else ms[str(s)][f"{method}_ms"] / usual for s in sizes]
                y = [curve[str(s)][method][key] for s in sizes]
                axis.plot(x, y, marker, label=f"{name}, {method}")
                for size, at in zip(sizes, zip(x, y, strict=True), strict=True):
                    axis.annotate(str(size), at, textcoords="offset points", xytext=(4, 4), fontsize=7)
            axis.set_xscale("log")
            if usual is None:
                axis.set_xticks(sizes, [str(size) for size in sizes], fontsize=7)
                axis.minorticks_off()
            axis.set_xlabel("long side of the coarse map [px]" if usual is None else "time / that of 256 px, stretched")
            axis.set_ylabel(label)
            axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
