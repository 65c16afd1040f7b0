#!/usr/bin/env python3
"""Surface normals against those of exact depth: angular errors of normals from depth, and what a model's own normals add.

Frames are pairs NAME.jpg and NAME.npz with exact depth and intrinsics (``make_validation_scenes.py``, ``path_traced_frames.py``);
coarse depth is a bundled or named model's, or of files. A model's own normals are simulated: the true ones averaged to a grid of
592 cells, smoothly turned by some degrees. Each error is over the pixels whose true normal is known; "edge" are those of the band
around depth edges.

    python benchmarks/normals.py DIR/frames --coarse DIR/coarse518
    python benchmarks/normals.py DIR/frames --model compact
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.stored import read_stored, stored_path
from depth_retrofit_ros.errors import DepthRetrofitError
from depth_retrofit_ros.evaluation.metrics.edges import edge_band
from depth_retrofit_ros.evaluation.metrics.normals import angular_error
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.photos import read_photo
from depth_retrofit_ros.pointcloud import normals as ours
from depth_retrofit_ros.pointcloud.exact_normals import exact_normals
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit, load
from depth_retrofit_ros.training.fields import smooth_noise
from depth_retrofit_ros.upsampling.area_average import box_average
from depth_retrofit_ros.upsampling.interpolation import bilinear

GRID = 592
SIMULATED_DEG = (8.0, 20.0)


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, metavar="DIR", help="folder of the pairs")
    parser.add_argument("--model", default="compact", help="coarse model")
    parser.add_argument("--coarse", type=Path, metavar="DIR", help="folder of coarse maps instead of a model")
    parser.add_argument("--count", type=int, default=100, help="frames at most")
    args = parser.parse_args()
    try:
        answer = answering(args)
        rows: dict[str, list[dict[str, float]]] = {}
        for path in sorted(args.frames.glob("*.npz"))[: args.count]:
            for name, errors in measure(path, answer):
                rows.setdefault(name, []).append(errors)
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not rows:
        print(f"error: no pairs in {args.frames}", file=sys.stderr)
        return 2
    titles = ("mean [deg]", "median", "< 11.25 deg", "edge mean", "edge median", "edge < 11.25", "ms")
    print(f"| normals of {len(next(iter(rows.values())))} frames | {' | '.join(titles)} |")
    print("|---" * (1 + len(titles)) + "|")
    for name, found in rows.items():
        mean = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
        parts = [f"{mean[key]:.1%}" if key.endswith("within") else f"{mean[key]:.1f}" for key in mean]
        print(f"| {name} | {' | '.join(parts)} |")
    return 0


def answering(args: argparse.Namespace) -> Callable[[str, Frame], DepthFrame]:
    """A frame of some name → its depth."""
    device = torch.device("cpu")
    if args.coarse is None:
        retrofit = load(args.model, device="cpu", refiner_precision="float32")
        return lambda name, frame: retrofit(frame)
    refiner = load_refiner(None, device, precision="float32")
    return lambda name, frame: Retrofit(read_stored(stored_path(args.coarse, name), device), refiner)(frame)


def measure(path: Path, answer: Callable[[str, Frame], DepthFrame]) -> list[tuple[str, dict[str, float]]]:
    """Errors of each kind of normals of one frame."""
    with np.load(path) as stored:
        depth = stored["depth"]
        camera = Camera(depth.shape[1], depth.shape[0], *(float(stored[name]) for name in ("fx", "fy", "cx", "cy")))
    image = next(read_photo(file).image for file in (path.with_suffix(suffix) for suffix in (".jpg", ".png")) if file.exists())
    result = answer(path.stem, Frame(image, camera=camera))
    truth, band = exact_normals(depth, camera), edge_band(depth)
    kinds = {
        "upsampled coarse depth, neighbours": lambda: by_neighbours(result.base, camera),
        "refined depth, neighbours": lambda: by_neighbours(result.depth, camera),
        "upsampled coarse depth": lambda: ours.normals_of(result.base, camera),
        "refined depth": lambda: ours.normals_of(result.depth, camera),
    }
    for degrees in SIMULATED_DEG:
        predicted = simulated(truth, degrees, np.random.default_rng(0))
        kinds |= {
            f"model's, off by {degrees:.0f} deg: interpolated": partial(interpolated, predicted, result),
            f"model's, off by {degrees:.0f} deg: by depth": partial(ours.normals_of, result.depth, camera, predicted),
        }
    rows = []
    for name, make in kinds.items():
        start = time.perf_counter()
        made = make().numpy()
        took = 1e3 * (time.perf_counter() - start)
        everywhere, edges = angular_error(made, truth), angular_error(made, truth, band)
        rows.append((name, {**everywhere, **{f"edge_{key}": value for key, value in edges.items()}, "ms": took}))
    return rows


def by_neighbours(depth: torch.Tensor, camera: Camera) -> torch.Tensor:
    """From differences of neighbouring pixels alone, each on its nearer side."""
    inverse = depth.reciprocal()
    across, down = ours.local_slopes(inverse)
    x, y = (torch.from_numpy(slopes) for slopes in camera.ray_slopes())
    across, down = across * camera.fx, down * camera.fy
    normals = torch.stack((across, down, inverse - across * x - down * y[:, None]))
    return -normals / normals.norm(dim=0)


def simulated(truth: np.ndarray, degrees: float, rng: np.random.Generator) -> torch.Tensor:
    """What a model might say: true normals averaged to its grid, turned smoothly by ``degrees`` in the root mean square."""
    height, width = truth.shape[1:]
    size = (round(GRID * height / width), GRID)
    known = torch.from_numpy(np.where(np.isfinite(truth), truth, np.array([0, 0, -1], np.float32)[:, None, None]))
    small = torch.nn.functional.normalize(box_average(known, size), dim=0)
    turn = np.tan(np.radians(degrees)) / np.sqrt(2)
    noise = np.stack([smooth_noise(rng, size, 25.0) for _ in range(3)]).astype(np.float32)
    noise *= turn / noise.std(axis=(1, 2), keepdims=True)
    return torch.nn.functional.normalize(small + torch.from_numpy(noise), dim=0)


def interpolated(predicted: torch.Tensor, result: DepthFrame) -> torch.Tensor:
    """The model's, bilinearly."""
    size = (result.depth.shape[0], result.depth.shape[1])
    return torch.nn.functional.normalize(bilinear(predicted, size), dim=0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
