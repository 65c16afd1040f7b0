#!/usr/bin/env python3
"""The README's picture: crops at full resolution of input, coarse depth stretched to camera size, refined depth, true depth.

    python benchmarks/make_pictures.py --out docs/images/edges.jpg

Upper row: the bundled model. Lower row: a simulated coarse model (training/degradations.py), as good as a large foundation model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.refinement.pixels.refiner import load_refiner
from depth_retrofit_ros.retrofit import Retrofit, load
from depth_retrofit_ros.training.degradations import simulate_coarse
from depth_retrofit_ros.training.refiner import FAR_FACTOR
from depth_retrofit_ros.training.scenes.video import VideoFrame, scene_video
from depth_retrofit_ros.upsampling.interpolation import upsample

SIZE = (1440, 2560)
TITLES = ("input", "coarse depth, stretched", "refined at 10 % of the pixels", "true depth")


def main() -> None:
    """Render, refine, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scene", type=int, nargs=2, default=(10, 3), help="scenes of the two rows")
    parser.add_argument("--at", type=int, nargs=4, default=(1250, 600, 900, 500), help="upper left corners of the two crops [px]")
    parser.add_argument("--seed", type=int, default=5, help="of the simulated model")
    args = parser.parse_args()
    rows = []
    for row, number in enumerate(args.scene):
        view = next(scene_video(number, SIZE[1], SIZE[0], 1))
        retrofit = load("compact") if row == 0 else simulated(view, args.seed)
        x, y = args.at[2 * row : 2 * row + 2]
        rows.append(crops(view, retrofit(Frame(view.image, camera=view.camera)), (slice(y, y + 480), slice(x, x + 640))))
    header = np.full((40, rows[0].shape[1], 3), 255, np.uint8)
    for column, title in enumerate(TITLES):
        cv2.putText(header, title, (640 * column + 12, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2, cv2.LINE_AA)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.resize(np.vstack([header, *rows]), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(args.out), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


def simulated(view: VideoFrame, seed: int) -> Retrofit:
    """The bundled refiner on a simulated coarse map of this view."""
    rows, columns = (((np.arange(n) + 0.5) * full / n).astype(int) for n, full in ((432, SIZE[0]), (768, SIZE[1])))
    low = view.depth[rows][:, columns]
    known = np.isfinite(low)
    low = np.where(known, low, FAR_FACTOR * low[known].max()).astype(np.float32)
    depth, features = simulate_coarse(np.random.default_rng(seed), low)
    prediction = CoarsePrediction(torch.from_numpy(depth), torch.from_numpy(features))
    return Retrofit(StoredCoarse(prediction, True, metric=False), load_refiner(None, torch.device("cpu")))


def crops(view: VideoFrame, result: DepthFrame, window: tuple[slice, slice]) -> np.ndarray:
    """Four crops side by side, BGR; one colour scale for all, true depth scaled to the coarse one's median in the crop."""
    coarse = upsample(result.coarse, SIZE, "bilinear").numpy()[window]
    refined, truth = result.depth.numpy()[window], view.depth[window]
    known = np.isfinite(truth)
    truth = np.where(known, truth * np.median(coarse[known] / truth[known]), np.inf)
    low, high = np.quantile(1 / coarse, [0.01, 0.99])

    def colored(depth: np.ndarray) -> np.ndarray:
        level = np.clip((1 / depth - low) / (high - low), 0, 1)
        return cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_TURBO)

    image = view.image[window][..., ::-1].copy()
    outline = cv2.morphologyEx(
        result.selection.mask().numpy()[window].astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    )
    image[outline > 0] = (0, 0, 255)
    return np.hstack([image, colored(coarse), colored(refined), colored(truth)])


if __name__ == "__main__":
    main()
