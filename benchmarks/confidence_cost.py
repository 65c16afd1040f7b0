#!/usr/bin/env python3
"""Processor time of the confidence for one frame of 2560×1440 on one thread, beside the plain cloud of every pixel as a yardstick.

    python benchmarks/confidence_cost.py --json benchmarks/results/confidence_cost.json

Planes with steps between them, a coarse map of 518 columns, and a tenth of the pixels refined, along the steps. All are measured in
turn in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.confidence.calibration import bundled_calibration
from depth_retrofit_ros.confidence.estimate import confidence_by_torch, confidence_of, cut_below, to_8bit
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.pointcloud.organized import fill_cloud
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.interpolation import upsample

HEIGHT, WIDTH, COARSE, BUDGET = 1440, 2560, 518, 0.1
ROUNDS = 15


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    result = answer()
    confidence = confidence_of(result)
    plain = replace(result, choice_entropy=None)
    image, cloud = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.empty((HEIGHT, WIDTH, 4), np.float32)
    camera, depth = Camera.from_hfov(WIDTH, HEIGHT, 70.0), result.depth.numpy()
    work: dict[str, Callable[[], object]] = {
        "cloud": lambda: fill_cloud(depth, image, camera, cloud, 1),
        "refined": lambda: confidence_of(result),
        "unrefined": lambda: confidence_of(plain),
        "by torch": lambda: confidence_by_torch(result, bundled_calibration()),
        "min_confidence": lambda: cut_below(result, 0.3, confidence),
        "8 bits": lambda: to_8bit(confidence),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS + 1):
        for name, run in work.items():
            start = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - start))
    medians = {name: statistics.median(told[1:]) for name, told in times.items()}
    made = {name: {"ms": round(ms, 2), "of the cloud": round(ms / medians["cloud"], 2)} for name, ms in medians.items()}
    text = json.dumps({"size": [WIDTH, HEIGHT], "coarse": COARSE, "budget": BUDGET, "threads": 1, "made": made}, indent=1) + "\n"
    print(text)
    if args.json:
        write_text(args.json, text)
    return 0


def table(document: dict[str, Any]) -> str:
    """Of docs/confidence.md."""
    lines = ["| what | ms | of the plain cloud |", "|---|---|---|"]
    lines += [f"| {name} | {told['ms']:.1f} | {told['of the cloud']:.2f} |" for name, told in document["made"].items()]
    return "\n".join(lines) + "\n"


def answer() -> DepthFrame:
    """Of planes with steps between them, where a tenth of the pixels, in bands along the steps, is refined."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    steps = np.sin(x / 90) * np.sin(y / 70)
    depth = np.where(steps > 0, 3 + x / WIDTH, 5 + y / HEIGHT).astype(np.float32)
    coarse = torch.from_numpy(cv2.resize(depth, (COARSE, round(COARSE * HEIGHT / WIDTH)), interpolation=cv2.INTER_AREA))
    indices = torch.from_numpy(np.sort(np.argsort(np.abs(steps).ravel(), kind="stable")[: round(BUDGET * depth.size)]))
    pixels = PixelSet.from_indices(indices, (HEIGHT, WIDTH))
    gate, entropy = (torch.from_numpy(rng.random(pixels.count, np.float32)) for _ in range(2))
    base, score = upsample(coarse, (HEIGHT, WIDTH)), torch.from_numpy(rng.random(tuple(coarse.shape), np.float32))
    return DepthFrame(torch.from_numpy(depth), base, coarse, None, pixels, gate, score=score, choice_entropy=entropy)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
