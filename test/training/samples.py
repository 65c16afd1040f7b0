"""A pool sample written down instead of rendered: two slanted walls that meet in a slanted depth edge, below a sky."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.training.coarse_views import FAR_FACTOR, CoarseView, finite_truth
from depth_retrofit_ros.training.crops import CropSample, make_crop

WIDTH, HEIGHT, RATIO, SIDE = 320, 240, 5, 96
F_PX = 300.0


def full_frame(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 [H, W, 3] and depth float32 [H, W] m (inf in the sky) of the whole frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    left = x + 0.4 * y < 200
    depth = 1 / np.where(left, 0.5 + 0.0004 * y - 0.0003 * x, 0.12 + 0.0002 * x)
    depth[:30] = np.inf
    noise = np.random.default_rng(seed).normal(0, 12, (HEIGHT, WIDTH, 3))
    color = np.where(left[..., None], (180, 60, 40), (60, 120, 190)).astype(np.float64)
    color[:30] = (230, 240, 250)
    return np.clip(color + noise, 0, 255).astype(np.uint8), depth.astype(np.float32)


def sample(seed: int = 0, mirrored: bool = False) -> dict[str, np.ndarray]:
    """As ``pool.render_sample`` makes it; a pixel of the view is exactly 5 x 5 fine ones. mirrored: the world left to right."""
    image, depth = full_frame(seed)
    corners = [(96, 72), (131, 5), (80, 140)]
    if mirrored:
        image, depth = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(depth[:, ::-1])
        corners = [(WIDTH - SIDE - x, y) for x, y in corners]
    size = (WIDTH // RATIO, HEIGHT // RATIO)
    return {
        "view": cv2.resize(image, size, interpolation=cv2.INTER_AREA),
        "view_depth": depth[RATIO // 2 :: RATIO, RATIO // 2 :: RATIO],
        "frame": np.array([WIDTH, HEIGHT]),
        "f_px": np.array(F_PX),
        "at": np.array(corners),
        "crops": np.stack([image[y : y + SIDE, x : x + SIDE] for x, y in corners]),
        "crop_depth": np.stack([depth[y : y + SIDE, x : x + SIDE] for x, y in corners]),
    }


def write_samples(folder: Path, count: int) -> list[Path]:
    """Files of a pool."""
    files = [folder / f"{i}.npz" for i in range(count)]
    for seed, file in enumerate(files):
        np.savez(file, **sample(seed))  # type: ignore[arg-type]  # none of the names is its allow_pickle
    return files


def view_of(data: dict[str, np.ndarray], factor: float = 1.0, size: tuple[int, int] = (24, 32)) -> CoarseView:
    """A coarse model that is right up to a factor, on a grid of its own, and uncertain at depth edges."""
    values, far = finite_truth(data, FAR_FACTOR)
    truth = torch.from_numpy(values)
    low = torch.nn.functional.interpolate(truth[None, None], size=size, mode="nearest-exact")[0, 0]
    padded = torch.nn.functional.pad(low.log()[None, None], (1, 1, 1, 1), mode="replicate")
    pool = torch.nn.functional.max_pool2d
    doubt = (pool(padded, 3, 1) + pool(-padded, 3, 1))[0, 0] + 0.01
    return CoarseView(factor * low, doubt, low, far, torch.zeros(2, *size, dtype=torch.float16))


def some_crops(count: int = 2) -> list[CropSample]:
    """Of one scene, with a simulated model."""
    data = sample()
    view = view_of(data)
    return [make_crop(data, index, view, 0.15, flip=False) for index in range(count)]
