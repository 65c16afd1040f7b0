"""Training windows of which everything is known: a wall in front of the camera, and coarse depth that is off it as asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.coarse_views import CoarseView
from depth_retrofit_ros.training.windows import Window

WALL_M = 2.0


def window(wanted: Tensor, selected: Tensor | None = None) -> Window:
    """Of a frame of its size. wanted ``[h, w]``: what is to be added to ln coarse depth, the wall's; selected: half of it."""
    height, width = wanted.shape
    if selected is None:
        selected = torch.arange(width).expand(height, -1) < width // 2
    truth = torch.full((height, width), WALL_M)
    coarse = torch.full((6, 8), WALL_M)
    view = CoarseView(coarse, torch.zeros(6, 8), coarse, 100.0, torch.zeros(1, 6, 8))
    return Window(
        image=torch.full((height, width, 3), 128, dtype=torch.uint8),
        depth=WALL_M * (-wanted).exp(),
        selected=selected,
        target=truth.log(),
        truth=truth,
        origin=(0, 0),
        size=(height, width),
        score=torch.zeros(6, 8),
        view=view,
        camera=Camera.from_hfov(width, height, 60.0),
    )


def ramp(height: int, width: int, slope: float) -> Tensor:
    """``[h, w]``, rising by ``slope`` a pixel to the right."""
    return slope * torch.arange(width).float().expand(height, -1)
