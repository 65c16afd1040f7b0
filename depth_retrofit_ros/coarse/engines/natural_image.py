"""A picture that is nobody's, for checks and first frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def natural_image(height: int, width: int) -> Tensor:
    """A picture ``uint8 [H, W, 3]`` with the spectrum of photographs and some sharp edges, the same at each call: for checks, noise
    is too far from what a network was trained on."""
    generator = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falling = 1.0 / np.maximum(np.hypot(rows, columns), 1.0 / max(height, width))
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    edges = sum(np.sign(np.sin(a * x + b * y + c)) for a, b, c in generator.uniform(-9, 9, (6, 3)))
    planes = []
    for _ in range(3):
        waves = np.fft.irfft2(np.fft.rfft2(generator.standard_normal((height, width))) * falling, s=(height, width))
        values = waves / waves.std() + 0.5 * edges
        planes.append(128 + 50 * values / values.std())
    return torch.from_numpy(np.stack(planes, -1).clip(0, 255).astype(np.uint8))
