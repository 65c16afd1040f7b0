#!/usr/bin/env python3
r"""Obstacles that a planner's grid shows in free space, per 100 frames, without and with the filters of the cloud.

    python benchmarks/false_obstacles.py DIR/frames --coarse DIR/coarse518 DIR/coarse256 \
        --json benchmarks/results/false_obstacles.json

Frames with exact depth, and the true surfaces as the answer places them, as in ``flying_pixels.py``. A cell of 10 cm is marked by a
point within 8 m and between 0.6 m below and above the camera; it is false where no true surface is in it or beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from flying_pixels import coarse_of, placed

from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.evaluation.metrics.obstacle_grid import ObstacleGrid, false_obstacles
from depth_retrofit_ros.pointcloud.filters import CloudFilter
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.runtime.filtered_cloud import HostCloud

STRIDE = 2
FILTERS = {
    "none": CloudFilter(range_max=1e6),
    "flying_pixels 2": CloudFilter(flying_pixels=2.0),
    "flying_pixels 4": CloudFilter(flying_pixels=4.0),
    "flying_pixels 4, voxel_size 0.05": CloudFilter(flying_pixels=4.0, voxel_size=0.05),
}


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, metavar="DIR", help="folder of the pairs")
    parser.add_argument("--coarse", nargs="+", default=[], metavar="DIR", help="folders of coarse maps")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    grid, result = ObstacleGrid(), dict[str, object]()
    try:
        samples = [read_pair(pair) for pair in find_pairs(args.frames)]
        refiner = load_refiner(None, torch.device("cpu"), precision="float32")
        for folder in args.coarse:
            totals = {name: np.zeros(3) for name in FILTERS}
            for sample in samples:
                camera, image = sample.frame.camera, sample.frame.image
                assert camera is not None
                depth = Retrofit(coarse_of(folder, sample), refiner)(sample.frame).depth.numpy()
                surfaces = np.full(depth.shape, np.nan, np.float32)
                surfaces[::STRIDE, ::STRIDE] = np.exp(placed(depth, sample.depth))
                true = grid.marked(make_cloud(surfaces, image, camera, STRIDE))
                for name, cloud in FILTERS.items():
                    fill = HostCloud().begin(lambda depth=depth: depth, sample.frame, STRIDE, cloud)  # type: ignore[misc]
                    points = np.empty((*fill.shape(), 4), np.float32)
                    fill(points)
                    marked = grid.marked(points)
                    missed = false_obstacles(true, marked)
                    totals[name] += (false_obstacles(marked, true), missed, true.sum())
            per_100 = 100 / len(samples)
            result[Path(folder).name] = {
                name: {"false": round(per_100 * false), "missed": round(float(missed / there), 5)}
                for name, (false, missed, there) in totals.items()
            }
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = json.dumps({"frames": len(samples), "per_100_frames": result}, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
