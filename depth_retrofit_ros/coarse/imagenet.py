"""A frame as the encoders take it: at the network's size, normalised, mostly by ImageNet's mean and deviation."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.upsampling.area_average import downsample

Rgb = tuple[float, float, float]
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in 0…1


class NormalizedInput:
    """Frames → planes on one device, in one precision; mean, deviation: of RGB in 0…1."""

    def __init__(self, device: torch.device, dtype: torch.dtype, mean: Rgb = MEAN, deviation: Rgb = DEVIATION) -> None:
        self.dtype = dtype
        self._mean, self._deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, deviation))

    def __call__(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """``uint8 [H, W, 3]`` → ``[1, 3, h, w]``; ``size = (h, w)``."""
        return ((downsample(image, size) - self._mean) / self._deviation).to(self.dtype)


def usual_precision(device: torch.device) -> torch.dtype:
    """Half where that is faster."""
    return torch.float16 if device.type == "cuda" else torch.float32
