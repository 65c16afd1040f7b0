"""The normals that URGT is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.pointcloud.normals import normals_of
from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes
from depth_retrofit_ros.refinement.tiles.projection import finite
from depth_retrofit_ros.upsampling.interpolation import bilinear


class CoarseNormals:
    """Makes them frame by frame; the rays of a stream's camera are sent to the device once. A copy has none of them yet."""

    def __init__(self) -> None:
        self._rays: tuple[torch.device, RaySlopes] | None = None

    def __call__(self, coarse: CoarsePrediction, camera: Camera | None) -> Tensor:
        """The normals of the coarse depth, ``float32 [3, h, w]``, the model's own where it has some; 0 where they are not known,
        as everywhere without a camera."""
        height, width = coarse.depth.shape
        if camera is None:
            return coarse.depth.new_zeros(3, height, width)
        normals = coarse.normals
        if normals is None:
            normals = normals_of(coarse.depth, camera.resized(width, height), rays=self._rays_on(coarse.depth.device))
        return bilinear(finite(normals.float()), (height, width))

    def __reduce__(self) -> tuple[Any, ...]:
        return CoarseNormals, ()

    def _rays_on(self, device: torch.device) -> RaySlopes:
        if self._rays is None or self._rays[0] != device:
            self._rays = device, RaySlopes(device)
        return self._rays[1]
