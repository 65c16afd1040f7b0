#!/usr/bin/env python3
"""Points between two surfaces, on frames with exact depth: how many are published without and with ``flying_pixels``, and with
``--min-confidence`` beside it.

    python benchmarks/flying_pixels.py DIR/frames --coarse DIR/coarse518 DIR/coarse256 --json benchmarks/results/flying_pixels.json
    python benchmarks/flying_pixels.py DIR/frames --coarse DIR/coarse518 @compact --min-confidence 0.05 0.1 --json FILE

Frames are pairs NAME.jpg and NAME.npz, coarse maps come from folders or of @MODEL, and the cloud is that of stride 2. Coarse models
place whole surfaces too near or too far, which no filter can know: so true surfaces are taken as the answer places them. Their
error in ln depth is averaged over pixels away from edges on a grid of place and depth, smooth along a surface, and added to the
true depth. A point is off where no such surface within 16 pixels of the image is within 5 % of its depth, and flying where it lies
between two of them. Lost are points that were not off and are taken out; lost_solid, those that are not of the sky. ``exact``:
coarse maps averaged from exact depth, without such errors.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.coarse.stored import StoredCoarse, read_stored, stored_path
from depth_retrofit_ros.confidence.estimate import confidence_of, cut_below
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.pointcloud.filters import CloudFilter, limits_of
from depth_retrofit_ros.pointcloud.filters_cpu import DepthFilter
from depth_retrofit_ros.pointcloud.ray_grid import rays_of
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit

STRIDE, REACH, TOLERANCE = 2, 8, 0.05
ANGLES = (1.0, 2.0, 3.0, 4.0, 6.0)
CELL, BIN = 24, 0.06  # of the grid of errors: pixels, and ln depth
SKY = 60.0  # m, in place of infinity
EXACT = "exact"
PARTS = ("points", "flying", "off", "true", "lost", "solid", "lost_solid")
BESIDE, MOST_LOST = 2.0, 0.03  # of the table: degrees, and share of the true points


def placed(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """ln of the true depth ``[H, W]`` as ``depth`` places its surfaces, of every ``STRIDE``-th pixel."""
    log = np.log(np.where(np.isfinite(truth), truth, SKY)).astype(np.float32)
    around = np.ones((13, 13), np.uint8)
    flat = (cv2.dilate(log, around) - cv2.erode(log, around) < BIN)[::STRIDE, ::STRIDE]
    error = (np.log(depth) - log)[::STRIDE, ::STRIDE]
    log = log[::STRIDE, ::STRIDE]
    y, x = np.mgrid[: log.shape[0], : log.shape[1]] * (STRIDE / CELL) + 1
    places = y, x, (log - log.min()) / BIN + 1
    shape = tuple(int(part.max()) + 3 for part in places)
    cells = np.ravel_multi_index([np.rint(part).astype(np.int64)[flat] for part in places], shape)
    counts = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    sums = np.bincount(cells, error[flat], int(np.prod(shape))).reshape(shape)
    total = sum(weight * blurred(sums, sigma) for sigma, weight in ((0.7, 1.0), (2, 1e-2), (6, 1e-4)))
    weights = sum(weight * blurred(counts, sigma) for sigma, weight in ((0.7, 1.0), (2, 1e-2), (6, 1e-4)))
    mean, offset = total / np.maximum(weights, 1e-12), np.zeros(log.shape)
    for corner in np.ndindex(2, 2, 2):
        share = np.ones(log.shape)
        for part, step in zip(places, corner, strict=True):
            share = share * (part % 1 if step else 1 - part % 1)
        offset += share * mean[tuple(part.astype(int) + step for part, step in zip(places, corner, strict=True))]
    return (log + offset).astype(np.float32)


def blurred(grid: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian along all three axes."""
    smooth = cv2.GaussianBlur(grid, (0, 0), sigma).reshape(-1, grid.shape[2])
    return cv2.GaussianBlur(smooth, (0, 0), sigmaX=sigma, sigmaY=1e-3).reshape(grid.shape)


def off_surfaces(log: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which points are off, and which of them fly; ``bool [h, w]``."""
    nearest, padded = np.full(log.shape, np.inf, np.float32), np.pad(true, REACH, mode="edge")
    (h, w), side = log.shape, 2 * REACH + 1
    for dy, dx in np.ndindex(side, side):
        np.minimum(nearest, np.abs(log - padded[dy : dy + h, dx : dx + w]), out=nearest)
    around = np.ones((side, side), np.uint8)
    off = nearest > np.log1p(TOLERANCE)
    return off, off & (log > cv2.erode(true, around)) & (log < cv2.dilate(true, around))


def counts(result: DepthFrame, sample: Sample, levels: Sequence[float], is_exact: bool) -> dict[str, dict[str, int]]:
    """By ``named`` setting, none first: number of points, of those that fly and are off, of true ones and what is lost of them; and
    of these alone that are not of the sky."""
    depth, camera = result.depth.numpy(), sample.frame.camera
    assert camera is not None
    truth = np.where(np.isfinite(sample.depth), sample.depth, SKY)
    true = np.log(truth)[::STRIDE, ::STRIDE].astype(np.float32) if is_exact else placed(depth, sample.depth)
    off, fly = off_surfaces(np.log(depth[::STRIDE, ::STRIDE]), true)
    solid = ~off & np.isfinite(sample.depth)[::STRIDE, ::STRIDE]
    confidence = confidence_of(result) if levels else None
    rows = {}
    for level in (0.0, *levels):
        shown = depth if confidence is None else cut_below(result, level, confidence).depth.numpy()
        for angle in (0.0, *ANGLES):
            limits = limits_of(CloudFilter(flying_pixels=angle), camera, STRIDE)
            kept = np.isfinite(DepthFilter()(shown, rays_of(camera, None, STRIDE), STRIDE, limits))
            parts = kept, kept & fly, kept & off, ~off, ~off & ~kept, solid, solid & ~kept
            row = dict(zip(PARTS, (int(part.sum()) for part in parts), strict=True))
            rows[named(angle, level)] = row
    return rows


def named(angle: float, level: float) -> str:
    """Of ``flying_pixels`` [deg] and ``min_confidence``; 0 for without."""
    return f"{angle:g}" if level == 0 else f"{angle:g}, {level:g}"


def coarse_of(folder: str, sample: Sample) -> CoarseModel:
    """The stored map; a model; or the exact depth, averaged to 518 columns."""
    if folder.startswith("@"):
        return model_named(folder[1:])
    if folder != EXACT:
        return read_stored(stored_path(Path(folder), sample.name), torch.device("cpu"))
    truth = np.where(np.isfinite(sample.depth), sample.depth, SKY)
    height, width = truth.shape
    small = cv2.resize(np.log(truth), (518, round(518 * height / width)), interpolation=cv2.INTER_AREA)
    depth = torch.from_numpy(np.exp(small).astype(np.float32))
    return StoredCoarse(CoarsePrediction(depth, depth.log()[None]), False, ScaleClaim("up-to-scale", "never"))


@cache
def model_named(name: str) -> CoarseModel:
    """Loaded once."""
    return load_coarse(name, weights=None, device="cpu")


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, metavar="DIR", help="folder of the pairs")
    parser.add_argument("--coarse", nargs="+", default=[], metavar="DIR", help=f"folders of coarse maps, @MODEL, or {EXACT}")
    parser.add_argument(
        "--min-confidence", nargs="+", type=float, default=[], metavar="LEVEL", help="with each angle, each of these"
    )
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    result: dict[str, Any] = {}
    try:
        samples = [read_pair(pair) for pair in find_pairs(args.frames)]
        refiner = load_refiner(None, torch.device("cpu"), precision="float32")
        for folder in args.coarse:
            totals: dict[str, dict[str, float]] = {}
            for sample in samples:
                answer = Retrofit(coarse_of(folder, sample), refiner)(sample.frame)
                for setting, row in counts(answer, sample, args.min_confidence, folder == EXACT).items():
                    total = totals.setdefault(setting, dict.fromkeys(row, 0))
                    totals[setting] = {key: total[key] + row[key] for key in row}
            result[Path(folder).name.lstrip("@")] = {setting: shares(row) for setting, row in totals.items()}
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    levels = {"min_confidence": args.min_confidence} if args.min_confidence else {}
    text = json.dumps({"frames": len(samples), "stride": STRIDE, **levels, "coarse": result}, indent=1)
    print(text)
    if args.min_confidence:
        print(table(result, args.min_confidence))
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


def shares(row: dict[str, float]) -> dict[str, float]:
    """Of published points that fly and are off, and of true ones that are lost."""
    points = max(1, row["points"])
    parts = {"flying": row["flying"] / points, "off": row["off"] / points, "lost": row["lost"] / row["true"]}
    parts["lost_solid"] = row["lost_solid"] / row["solid"]
    return {name: round(share, 5) for name, share in parts.items()}


def table(coarse: dict[str, dict[str, dict[str, float]]], levels: Sequence[float]) -> str:
    """Of docs/pointcloud.md: what the confidence cuts alone and with ``BESIDE`` degrees; and in bold the least that flies at a loss
    of at most ``MOST_LOST``, by whichever setting."""
    lines = ["| coarse map | `flying_pixels` [°] | `min_confidence` | flying | off | lost |", "|" + "---|" * 6]
    for name, rows in coarse.items():
        affordable = [setting for setting, row in rows.items() if row["lost_solid"] <= MOST_LOST]
        best = min(affordable, key=lambda setting: rows[setting]["flying"])
        shown = [named(angle, level) for angle in (0.0, BESIDE) for level in (0.0, *levels)]
        for setting in dict.fromkeys((*shown, best)):
            angle, _, level = setting.partition(", ")
            cells = [name, angle, level or "0", *(f"{100 * rows[setting][key]:.2f}%" for key in ("flying", "off", "lost_solid"))]
            mark = "**" if setting == best else ""
            lines.append(f"| {' | '.join(f'{mark}{cell}{mark}' for cell in cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
