#!/usr/bin/env python3
"""What the median over neighbours of like colour is worth: the bundled refiner without it, with it, with other reaches and colours.

    python benchmarks/ablate_agreement.py another_518=FRAMES=COARSE own=DIR=DIR2 --json benchmarks/results/ablate_agreement.json

NAME=FRAMES=COARSE: frames and stored coarse maps, as ``depth-retrofit evaluate FRAMES --coarse COARSE`` takes them. Figures: means
over the frames of a set, median-aligned, at a tenth of the pixels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest import mock

import torch
from set_tables import report

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair
from depth_retrofit_ros.evaluation.evaluator import Evaluator, Figures
from depth_retrofit_ros.presets import USUAL, Parts, Preset
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.pixels import median
from depth_retrofit_ros.refinement.registry import load_refiner

SETTINGS: Sequence[tuple[int, float]] = ((0, 40.0), (3, 40.0), (1, 40.0), (2, 40.0), (5, 40.0), (3, 20.0), (3, 80.0))
"""Reach [px] and farthest colour; reach 0: each pixel for itself."""
COLUMNS = {"edge_abs_rel": "AbsRel at edges", "flat_abs_rel": "elsewhere", "see": "SEE [m]", "boundary_f1": "boundary F1"}


@dataclass(frozen=True, slots=True)
class Agreeing(Preset):
    """The default, with or without the median."""

    with_median: bool = True

    def parts(self, coarse: object) -> Parts:
        """See ``Preset``."""
        return USUAL if self.with_median else replace(USUAL, agree=None)


def measured(refiner: Refiner[Any], sample: Sample, coarse: CoarseModel, reach: int, color: float) -> Figures:
    """The refined depth's figures."""
    evaluator = Evaluator(refiner, 0.1, "median", upsamplers=("bilinear",), timed=False, preset=Agreeing(with_median=reach > 0))
    with mock.patch.object(median, "REACH", max(1, reach)), mock.patch.object(median, "FARTHEST_COLOR", color):
        figures = evaluator(sample, coarse).methods["refined"]
    assert figures is not None, "it always refines"
    return figures


def of_set(frames: Path, coarse: Path) -> dict[str, Figures]:
    """By setting, the means over all frames."""
    found: dict[str, list[Figures]] = {}
    refiner = load_refiner(None, torch.device("cpu"), "auto", "float32")
    for pair in find_pairs(frames):
        sample, stored = read_pair(pair), read_stored(stored_path(coarse, pair.name), torch.device("cpu"))
        for reach, color in SETTINGS:
            found.setdefault(f"{reach} px, {color:g}", []).append(measured(refiner, sample, stored, reach, color))
        print(f"{coarse.name}: {pair.name}", flush=True)
    return {name: {key: fmean(figures[key] for figures in of) for key in COLUMNS} for name, of in found.items()}


def main() -> int:
    """Measure, print a table per set, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FRAMES=COARSE")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    sets: dict[str, dict[str, Figures]] = {}
    try:
        for item in args.sets:
            name, frames, coarse = item.split("=")
            sets[name] = of_set(Path(frames), Path(coarse))
    except (DepthRetrofitError, ValueError) as error:
        print(f"ablate_agreement: error: {error}", file=sys.stderr)
        return 2
    report(sets, "reach, farthest colour", COLUMNS, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
