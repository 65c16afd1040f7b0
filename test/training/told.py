"""Training windows of which everything is known: a wall in front of the camera, and coarse depth that is off it as asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.coarse_views import CoarseView
from depth_retrofit_ros.training.windows import Window, with_normals

WALL_M = 2.0


def window(wanted: Tensor, relief: Tensor | None = None) -> Window:
    """Of a frame of its size, of which the left half is selected. wanted ``[h, w]``: what is to be added to ln coarse depth; relief
    ``[h, w]``: of the wall, what its ln depth is beside ln ``WALL_M``."""
    height, width = wanted.shape
    truth = torch.full((height, width), WALL_M) * (torch.zeros(height, width) if relief is None else relief).exp()
    coarse = torch.full((6, 8), WALL_M)
    view = CoarseView(coarse, torch.zeros(6, 8), coarse, 100.0, torch.zeros(1, 6, 8))
    return with_normals(
        Window(
            image=torch.full((height, width, 3), 128, dtype=torch.uint8),
            depth=truth * (-wanted).exp(),
            selected=torch.arange(width).expand(height, -1) < width // 2,
            target=truth.log(),
            truth=truth,
            origin=(0, 0),
            size=(height, width),
            score=torch.zeros(6, 8),
            small=torch.full((6, 8, 3), 0.5),
            view=view,
            camera=Camera.from_hfov(width, height, 60.0),
        )
    )


def ramp(height: int, width: int, slope: float) -> Tensor:
    """``[h, w]``, rising by ``slope`` a pixel to the right."""
    return slope * torch.arange(width).float().expand(height, -1)
