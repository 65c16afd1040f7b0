"""MoGe-2 as a coarse model."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.coarse.networks.moge import MoGeMaps
from depth_retrofit_ros.coarse.networks.view_plane import recover_shift


def metric_depth(maps: MoGeMaps, aspect: float, focal: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Depth [m] ``[h, w]``, where it is one (``bool [h, w]``: finite, not behind the camera), and the focal length ``[]``.

    aspect: of the frame; focal: its camera's focal length [half diagonals of the image] where it is known.
    """
    z = maps.points[2].exp()
    points = torch.cat((maps.points[:2] * z, z[None]))
    finite = maps.mask > 0
    shift, f = recover_shift(points, finite, aspect, focal)
    moved = z + shift
    return moved * maps.log_scale.exp(), finite & (moved > 0), f
