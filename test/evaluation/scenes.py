"""A small scene with exact depth as an evaluation folder, and coarse models for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.evaluation.data.dataset import Sample, find_pairs, read_pair

HEIGHT, WIDTH = 96, 128
CAMERA = Camera.from_hfov(WIDTH, HEIGHT, 70)


def truth(seed: int = 0) -> np.ndarray:
    """A slanted ground, a disc before it, a wire before both, and sky above."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    depth = 1 / (0.1 + 0.003 * y)
    depth[(y - 55) ** 2 + (x - rng.integers(40, 90)) ** 2 < 20**2] = 2.0
    depth[:, int(rng.integers(100, 120))] = 1.5
    depth[:8] = np.inf
    return depth.astype(np.float32)


def picture(depth: np.ndarray) -> np.ndarray:
    gray = np.where(np.isfinite(depth), 255 / np.where(np.isfinite(depth), depth, 1), 240)
    return np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[..., None], 3, 2)


def coarse_of(depth: np.ndarray, factor: int = 8) -> np.ndarray:
    """ln depth averaged over blocks, unknown depth (the sky) at 50 m."""
    log = np.log(np.where(np.isfinite(depth), depth, 50))
    return np.exp(log.reshape(HEIGHT // factor, factor, WIDTH // factor, factor).mean((1, 3))).astype(np.float32)


def write_scene(folder: Path, name: str, seed: int = 0) -> np.ndarray:
    """NAME.png and NAME.npz; returns the depth."""
    depth = truth(seed)
    cv2.imwrite(str(folder / f"{name}.png"), picture(depth))
    np.savez(folder / f"{name}.npz", depth=depth, fx=CAMERA.fx, fy=CAMERA.fy, cx=CAMERA.cx, cy=CAMERA.cy)
    return depth


def sample(folder: Path, seed: int = 0) -> Sample:
    write_scene(folder, "scene", seed)
    return read_pair(find_pairs(folder)[0])


class Resizable:
    """A coarse model that knows the truth at its input's resolution; its input's long side is 16 px unless told otherwise."""

    name = "resizable"
    claim = ScaleClaim("up-to-scale", "never")
    device = torch.device("cpu")

    def __init__(self, depth: np.ndarray, scale: float = 1.0) -> None:
        self.depth, self.scale = depth, scale
        self.size = long_side(16, 1)
        self.asked: list[int] = []

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        self.asked.append(self.size.pixels[0])
        factor = max(1, WIDTH // self.size.pixels[0])
        depth = torch.from_numpy(self.scale * coarse_of(self.depth, factor if HEIGHT % factor == 0 else 8))
        return CoarsePrediction(depth, torch.stack([depth.log(), torch.zeros_like(depth)]))
