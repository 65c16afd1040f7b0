#!/usr/bin/env python3
"""Whole procedural frames with exact depth, for ``depth-retrofit evaluate``: NAME.jpg and NAME.npz, from seeds that training never
uses.

With ``--simulated DIR2`` also what a simulated coarse model says of each frame, for ``depth-retrofit evaluate --coarse DIR2``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError, DepthRetrofitError
from depth_retrofit_ros.io.depth_files import make_folder, write_depth_npz, write_image, writing
from depth_retrofit_ros.training.coarse_views import FAR_FACTOR
from depth_retrofit_ros.training.degradations import point_sampled, simulate_coarse
from depth_retrofit_ros.training.pool import VIEW_SIDE
from depth_retrofit_ros.training.scenes.primitives import usable_scene
from depth_retrofit_ros.training.scenes.sensor import Sensor
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures

TRAINING_SEEDS = range(1000)  # training takes 1 unless told otherwise, its held-out pool 900


def main() -> int:
    """Render; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pairs")
    parser.add_argument("--count", type=int, default=16, help="number of frames, each of another scene")
    parser.add_argument("--seed", type=int, default=7000, help=f"of scenes and textures, at least {TRAINING_SEEDS.stop}")
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--height", type=int, default=1440)
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photographs to use as textures; not those of the training")
    parser.add_argument("--simulated", type=Path, metavar="DIR2", help="folder for simulated coarse maps with features")
    args = parser.parse_args()
    try:
        if args.seed in TRAINING_SEEDS:
            raise DatasetError(
                f"seeds below {TRAINING_SEEDS.stop} are for training: choose --seed {args.seed + TRAINING_SEEDS.stop}"
            )
        for folder in filter(None, (args.out, args.simulated)):
            make_folder(folder)
        textures = build_textures(args.seed, photos=args.photos)
        for index in range(args.count):
            name = make_frame(args, textures, index)
            print(f"{name} ({index + 1}/{args.count})", flush=True)
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def make_frame(args: argparse.Namespace, textures: TextureStack, index: int) -> str:
    """Render and write one frame; returns its name."""
    rng = np.random.default_rng((args.seed, index))
    camera = Camera.from_hfov(args.width, args.height, float(rng.uniform(45, 90)))
    renderer, placed = usable_scene(rng, textures, torch.device("cpu"), camera)
    renderer.expose(camera, placed.pose)
    view = renderer.render(camera, placed.pose)
    sensor = Sensor(blur_px=float(rng.uniform(0.4, 0.9)), gain=1.0, balance=np.ones(3, np.float32), noise=0.01, jpeg=0)
    image, depth = sensor.shoot(view.image.numpy(), rng), view.depth.numpy()

    name = f"{placed.kind}_{args.seed}_{index:03d}"
    write_image(args.out / f"{name}.jpg", image)
    write_depth_npz(args.out / f"{name}.npz", depth, 0, True, camera)
    if args.simulated is not None:
        write_simulated(args.simulated / f"{name}.npz", rng, depth)
    return name


def write_simulated(path: Path, rng: np.random.Generator, depth: np.ndarray) -> None:
    """A simulated model's answer to a frame of true ``depth [H, W]``, with head features."""
    coarse, features = simulate_coarse(rng, point_sampled(depth, VIEW_SIDE, FAR_FACTOR))
    with writing(path):
        np.savez(path, depth=coarse, features=features, metric=np.bool_(False))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
