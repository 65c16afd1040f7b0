#!/usr/bin/env python3
"""What rectifying a frame costs on one core, and by which way.

    OMP_NUM_THREADS=1 python benchmarks/rectification.py --json benchmarks/results/rectification.json

The ways take turns in one process, on the same image; medians of processor time, to which others on the machine add little.
``node``: what the node does, fixed-point maps into a buffer that is used again; ``fresh``: the same into new memory;
``float_maps``: OpenCV with float32 maps; ``grid_sample``: torch, from uint8 and back to it; ``memcpy``: one copy of the image.
``frame``: the whole method with the model ``compact``, on the rectified image. ``map_once``, ``rays_once``: made once a
calibration.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from depth_retrofit_ros import load
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.lens import Lens, RayTable, Rectification

SIZES = ((1920, 1080), (2560, 1440))
LENSES = {
    "plumb_bob": (-0.3, 0.1, 1e-3, -2e-3, -0.01),
    "rational_polynomial": (0.5, -0.2, 1e-3, -1e-3, 0.02, 0.8, -0.1, 0.03),
    "equidistant": (-0.02, 0.005, -0.003, 0.0005),
}


def sampled(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """``uint8 [H, W, 3]`` by torch."""
    values = image.permute(2, 0, 1)[None].float()
    return F.grid_sample(values, grid, "bilinear", "zeros", align_corners=True)[0].permute(1, 2, 0).round().to(torch.uint8)


def measured(lens: Lens, camera: Camera, rounds: int) -> dict[str, float]:
    """Median time [ms] of each way."""
    start_s = time.process_time()
    made = Rectification(lens, camera)
    map_ms = 1e3 * (time.process_time() - start_s)
    image = np.random.default_rng(0).integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
    map_x, map_y = made.maps()
    fixed = cv2.convertMaps(map_x, map_y, cv2.CV_16SC2)
    grid = np.stack((map_x / (camera.width - 1), map_y / (camera.height - 1)), -1) * 2 - 1
    tensors = torch.from_numpy(image), torch.from_numpy(grid.astype(np.float32))[None]
    ways: dict[str, Callable[[], object]] = {
        "node": lambda: made.image(image),
        "fresh": lambda: cv2.remap(image, *fixed, cv2.INTER_LINEAR),
        "float_maps": lambda: cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR),
        "grid_sample": lambda: sampled(*tensors),
        "memcpy": lambda: image.copy(),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start_s = time.process_time()
            way()
            times[name].append(1e3 * (time.process_time() - start_s))
    return {name: round(statistics.median(found), 2) for name, found in times.items()} | {"map_once": round(map_ms, 1)}


def frame_ms(camera: Camera, rounds: int) -> float:
    """Median time of the method on a frame of this size."""
    retrofit = load("compact", device="cpu")
    noise = np.random.default_rng(0).integers(0, 256, (camera.height // 8, camera.width // 8, 3), dtype=np.uint8)
    frame = Frame(cv2.resize(noise, (camera.width, camera.height)), camera=camera)
    retrofit(frame)
    found = []
    for _ in range(rounds):
        start_s = time.process_time()
        retrofit(frame)
        found.append(1e3 * (time.process_time() - start_s))
    return round(statistics.median(found), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--width", type=int, choices=[width for width, _ in SIZES], help="only this size; FILE keeps the other")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    sizes: dict[str, Any] = {}
    if args.width is not None and args.json is not None and args.json.exists():
        sizes = json.loads(args.json.read_text(encoding="utf-8"))["sizes"]
    for width, height in SIZES:
        if args.width not in (None, width):
            continue
        raw = Camera(width, height, 0.55 * width, 0.55 * width, 0.49 * width, 0.51 * height)
        camera = Camera(width, height, 0.45 * width, 0.45 * width, width / 2, height / 2)
        entry: dict[str, Any] = {name: measured(Lens(name, d, raw), camera, args.rounds) for name, d in LENSES.items()}
        start_s = time.process_time()
        _ = RayTable(Lens("equidistant", LENSES["equidistant"], raw)).slopes
        entry["rays_once"] = round(1e3 * (time.process_time() - start_s), 1)
        entry["frame"] = frame_ms(camera, 3)
        sizes[f"{width}x{height}"] = entry
        print(f"{width}x{height}: {entry}")
    if args.json is not None:
        document = {"machine": machine(), "threads": 1, "unit": "ms of processor time", "sizes": sizes}
        args.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
