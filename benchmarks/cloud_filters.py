#!/usr/bin/env python3
"""What the filters of a cloud cost: one by one and all together, beside the plain cloud.

    python benchmarks/cloud_filters.py --json benchmarks/results/cloud_filters.json

A frame of 2560x1440: depth between 1.5 and 12 m with soft edges and 2 mm of noise, at strides 2 and 1. The ways take turns, so that
whatever else runs on the machine slows all of them; medians of the processor time of the process, which with one thread is the
time of the wall where it has a core to itself, and with more threads of the time of the wall, for which the machine must be idle.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.pointcloud.filters import CloudFilter
from depth_retrofit_ros.pointcloud.organized import cloud_size, fill_cloud
from depth_retrofit_ros.runtime.filtered_cloud import HostCloud

HEIGHT, WIDTH = 1440, 2560
BOX = (-8.0, -8.0, 0.2, 8.0, 8.0, 8.0)
FILTERS = {
    "range": CloudFilter(range_min=0.3, range_max=8.0),
    "flying pixels": CloudFilter(flying_pixels=2.0),
    "box": CloudFilter(box=BOX),
    "voxels of 5 cm": CloudFilter(voxel_size=0.05),
    "at most 20000 points": CloudFilter(max_points=20_000),
    "all": CloudFilter(range_min=0.3, range_max=8.0, flying_pixels=2.0, box=BOX, voxel_size=0.05, max_points=20_000),
}


def frame() -> tuple[np.ndarray, np.ndarray, Camera]:
    """A floor and a wall with boxes before them, whose edges are soft."""
    rng = np.random.default_rng(0)
    camera = Camera.from_hfov(WIDTH, HEIGHT, 70.0)
    y = camera.ray_slopes()[1]
    depth = np.minimum(1.2 / np.maximum(y, 0.05), 12.0)[:, None].repeat(WIDTH, 1)
    for _ in range(40):
        near = rng.uniform(1.5, 7.0)
        v, u, side = int(rng.integers(100, 1100)), int(rng.integers(0, 2300)), int(400 / near)
        rows, columns = slice(max(0, v - side), v + side), slice(max(0, u - side), u + side)
        part = depth[rows, columns]
        y_off, x_off = (abs(np.arange(n)[cut] - at) for n, cut, at in ((HEIGHT, rows, v), (WIDTH, columns, u)))
        soft = np.clip((side / 2 - np.maximum(y_off[:, None], x_off)) / 6 + 0.5, 0, 1)
        part[:] = np.exp((1 - soft) * np.log(part) + soft * np.log(np.minimum(near, part)))
    depth = depth + rng.normal(0, 0.002, depth.shape)
    return depth.astype(np.float32), rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), camera


def measured(
    depth: np.ndarray, image: np.ndarray, camera: Camera, stride: int, rounds: int, clock: Callable[[], float]
) -> dict[str, dict[str, float]]:
    """Way → median [ms] by the clock [s], and points."""
    out = np.empty((*cloud_size(HEIGHT, WIDTH, stride), 4), np.float32)
    made = {name: HostCloud() for name in FILTERS}
    times: dict[str, list[float]] = {}
    points = {"plain cloud": out.shape[0] * out.shape[1]}
    for _ in range(rounds + 1):
        start = clock()
        fill_cloud(depth, image, camera, out, stride)
        times.setdefault("plain cloud", []).append(1e3 * (clock() - start))
        for name, cloud in FILTERS.items():
            start = clock()
            fill = made[name].begin(lambda: depth, Frame(image, camera=camera), stride, cloud)
            rows, columns = fill.shape()
            target = out if cloud.organized else out.reshape(1, -1, 4)[:, :columns]
            fill(target)
            times.setdefault(name, []).append(1e3 * (clock() - start))
            points[name] = rows * columns if not cloud.organized else int(np.isfinite(out[..., 2]).sum())
    return {name: {"ms": round(float(np.median(found[1:])), 2), "points": points[name]} for name, found in times.items()}


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    strides = {str(stride): measured(*frame(), stride, args.rounds, clock) for stride in (2, 1)}
    result = {"machine": machine(), "threads": args.threads, "strides": strides}
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
