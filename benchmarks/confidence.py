#!/usr/bin/env python3
"""Reliability of the confidence on frames with known depth: what share of the pixels is within 5 %, by stated confidence.

Sets are NAME=DIR:COARSE_DIR of pairs with stored coarse maps, and NAME=DIR:@MODEL for a model's answers. Sets that FILE has already
and that are not named stay in it.

    python benchmarks/confidence.py traced_518=DIR/frames:DIR/coarse518 compact=DIR/frames:@compact --json FILE
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.confidence.correctness import is_right
from depth_retrofit_ros.confidence.estimate import confidence_of
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.metrics.reliability import reliability, risk_areas
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit

CPU = torch.device("cpu")
LEAST_SHARE = 0.01  # of the pixels, of a bin that is shown
BUDGETS = {"refined": 0.1, "unrefined": 0.0}


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=DIR:COARSE")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    try:
        document = json.loads(args.json.read_text(encoding="utf-8")) if args.json.exists() else {}
        for text in args.sets:
            name, _, rest = text.partition("=")
            frames, _, coarse = rest.partition(":")
            document[name] = measure(Path(frames), coarse)
            shown = {kind: told | {"curve": None} for kind, told in document[name].items()}
            print(name, json.dumps(shown), flush=True)
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_text(args.json, json.dumps(document, indent=1) + "\n")
    print(tables(document))
    return 0


def tables(document: dict[str, Any]) -> str:
    """The two tables of docs/confidence.md: errors by set, and the curves of what is refined."""
    lines = ["| set | refined | frames | within 5 % | stated | ECE | area | AUSE | AURC |", "|" + "---|" * 9]
    for name, kinds in document.items():
        for kind, told in kinds.items():
            right = 1 - told["wrong"]
            numbers = [right, told["mean"], *(told[key] for key in ("ece", "area", "ause", "aurc"))]
            row = [name, kind, str(told["frames"]), *(f"{number:.3f}" for number in numbers)]
            lines.append(f"| {' | '.join(row)} |")
    lines += ["", f"| set | {' | '.join(f'0.{n}–' for n in range(10))} |", "|" + "---|" * 11]
    for name, kinds in document.items():
        curve = kinds["refined"]["curve"]
        cells = [
            "–" if not share or share < LEAST_SHARE else f"{right:.2f}"
            for right, share in zip(curve["right"], curve["share"], strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def measure(frames: Path, coarse: str) -> dict[str, Any]:
    """Of one set: by ``BUDGETS``, over all pixels of its frames with known truth, each frame counting alike by its pixels."""
    refiner = load_refiner(None, CPU)
    shared = load_coarse(coarse[1:], weights=None, device="cpu") if coarse.startswith("@") else None
    told: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in BUDGETS}
    pairs = find_pairs(frames)
    for pair in pairs:
        sample = read_pair(pair)
        model: CoarseModel = shared or read_stored(stored_path(Path(coarse), pair.name), CPU)
        known = ~np.isnan(sample.depth)
        for name, budget in BUDGETS.items():
            result = Retrofit(model, refiner, budget)(sample.frame)
            told[name].append((confidence_of(result).numpy()[known], is_right(result.depth.numpy(), sample.depth)[known]))
    return {name: figures(told[name], len(pairs)) for name in BUDGETS}


def figures(told: list[tuple[np.ndarray, np.ndarray]], frames: int) -> dict[str, Any]:
    """Of all frames together."""
    confidence, right = (np.concatenate([pair[i] for pair in told]) for i in (0, 1))
    curve = reliability(confidence, right)
    lists = {name: [_rounded(v) for v in getattr(curve, name)] for name in ("stated", "right", "share")}
    areas = {name: _rounded(value) for name, value in risk_areas(confidence, right).items()}
    errors = {"ece": _rounded(curve.calibration_error), "area": _rounded(curve.area)}
    return {
        "frames": frames,
        **errors,
        "mean": _rounded(np.nanmean(confidence)),
        **areas,
        "curve": lists,
    }


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main())
