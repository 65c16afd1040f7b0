"""Normals that networks answer, as normals of surfaces that the camera sees."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.pointcloud.normals import GRAZING


def facing(normals: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``[3, K]`` of any length → unit vectors that face the camera, by ``GRAZING`` at least: what turns away is taken back along
    its ray, to the nearest vector that does not. 0 stays 0.

    x, y: slopes ``[K]`` of the pixels' rays, see ``Camera.ray_slopes``.
    """
    ray = torch.nn.functional.normalize(torch.stack((x, y, torch.ones_like(x))), dim=0)
    unit = torch.nn.functional.normalize(normals, dim=0)
    beyond = ((unit * ray).sum(0) + GRAZING).clamp_min(0.0)
    turned = torch.nn.functional.normalize(unit - beyond * ray, dim=0)
    return torch.where((normals == 0).all(0), 0.0, turned)
