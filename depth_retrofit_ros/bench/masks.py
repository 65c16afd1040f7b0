"""Active sets to measure on."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch


def edge_mask(size: tuple[int, int], share: float, seed: int = 0) -> torch.Tensor:
    """``bool [H, W]`` with exactly round(share · H · W) pixels in thin, fragmented bands, as depth edges leave them.

    Bands scatter more than what a selection by a coarse map gives, so this is the harder case. They are arcs of ellipses, 2 to 8
    pixels wide at 2560 columns and in proportion at other sizes, so that a pyramid thins out alike at every resolution.
    """
    height, width = size
    wanted = round(share * height * width)
    generator = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    scale = width / 2560
    while np.count_nonzero(mask) < wanted:
        radius = math.exp(generator.uniform(math.log(8 * scale), math.log(height / 3)))
        axes = max(1, round(radius)), max(1, round(radius * generator.uniform(0.3, 1.0)))
        center = int(generator.integers(width)), int(generator.integers(height))
        thickness = max(1, round(scale * generator.integers(2, 9)))
        cv2.ellipse(mask, center, axes, generator.uniform(0, 180), 0, generator.uniform(60, 360), 1, thickness)
    active = np.flatnonzero(mask)
    mask.reshape(-1)[active[wanted:]] = 0  # the excess of the last arc, and of the last rows
    return torch.from_numpy(mask.astype(bool))
