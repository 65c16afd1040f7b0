"""Features of any coarse model, as a refiner of tiles or of the whole frame takes them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from depth_retrofit_ros.refinement.pixels.features import standardised
from depth_retrofit_ros.upsampling.interpolation import bilinear

DESCRIBED = 2  # channels that every model has: ln depth about the frame's median, and the standardised uncertainty


class Projection(nn.Module):
    """``features [C, h, w]`` of a coarse model → ``[width, h, w]``: a 1x1 convolution for each model that was trained with, beside
    one of what every model has. A model that is not known gives its depth and uncertainty alone. Broken cells count as the frame's
    median depth, and their features as 0: they change nothing elsewhere.

    channels: C of each model by name.
    """

    def __init__(self, width: int, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.described = nn.Conv2d(DESCRIBED, width, 1)
        self.of = nn.ModuleDict({_key(name): nn.Conv2d(count, width, 1, bias=False) for name, count in channels.items()})

    def forward(self, depth: Tensor, score: Tensor, features: Tensor, model: str) -> Tensor:
        """depth ``[h, w]``, score ``[h, w]`` → ``[width, h, w]``."""
        level = depth.log()
        described = torch.stack((finite(level - level.nanmedian()), standardised(score)))
        out = self.described(described[None])[0]
        if _key(model) not in self.of:
            return out
        projected = self.of[_key(model)](standardised(finite(features.float()))[None])[0]
        return out + bilinear(projected, (depth.shape[0], depth.shape[1]))


def finite(values: Tensor) -> Tensor:
    """The values, 0 in place of those that are not finite."""
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _key(model: str) -> str:
    """Of a module, whose name cannot have a dot."""
    return model.replace(".", "_")
