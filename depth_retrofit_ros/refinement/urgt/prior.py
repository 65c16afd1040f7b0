"""The normals that URGT is given."""

from __future__ import annotations

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.pointcloud.normals import normals_of
from depth_retrofit_ros.upsampling.interpolation import bilinear


def coarse_normals(coarse: CoarsePrediction, camera: Camera | None) -> Tensor:
    """The normals of the coarse depth, ``float32 [3, h, w]``, the model's own where it has some; 0 where they are not known, as
    everywhere without a camera."""
    height, width = coarse.depth.shape
    if camera is None:
        return coarse.depth.new_zeros(3, height, width)
    normals = coarse.normals
    if normals is None:
        normals = normals_of(coarse.depth, camera.resized(width, height))
    return bilinear(torch.nan_to_num(normals.float(), nan=0.0), (height, width))
