"""The cloud that a filter leaves, made where the answer lies. Its size is known when it is asked for, before it is filled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.cuda_streams import Download, Upload
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.pointcloud.filters import CloudFilter, kept_depth, limits_of
from depth_retrofit_ros.pointcloud.filters_cpu import DepthFilter, fill_kept
from depth_retrofit_ros.pointcloud.organized import cloud_size
from depth_retrofit_ros.pointcloud.ray_grid import RayGrid
from depth_retrofit_ros.pointcloud.voxels import cloud_points, packed_points, taken, voxel_points
from depth_retrofit_ros.pointcloud.voxels_cpu import DenseCloud


class CloudFill(Protocol):
    """A ``Fill`` that tells the (rows, columns) of its cloud; one row of an unorganised cloud."""

    def shape(self) -> tuple[int, int]:
        """Makes the cloud as far as that takes; raises what keeps it from being made."""
        ...

    def __call__(self, out: np.ndarray) -> None: ...


class Made:
    """A cloud by two functions. make: the points of a dense cloud, ``float32 [N, 4]``, made once."""

    def __init__(self, size: tuple[int, int] | None, make: Callable[[], np.ndarray], fill: Callable[[np.ndarray], object]) -> None:
        self._size, self._make, self._fill = size, cache(make), fill

    def shape(self) -> tuple[int, int]:
        """See ``CloudFill``."""
        return self._size if self._size is not None else (1, len(self._make()))

    def __call__(self, out: np.ndarray) -> None:
        if self._size is not None:
            self._fill(out)
        else:
            np.copyto(out[0], self._make())


def failing(error: Exception) -> CloudFill:
    """Of a cloud that could not be begun: says why when it is asked for."""

    def fail() -> np.ndarray:
        raise error

    return Made(None, fail, lambda out: None)


class HostCloud:
    """By compiled kernels, in buffers that the next frame uses again."""

    def __init__(self) -> None:
        self._rays: RayGrid[np.ndarray] = RayGrid(lambda array: array)
        self._filter, self._dense = DepthFilter(), DenseCloud()

    def begin(self, depth: Callable[[], np.ndarray], frame: Frame, stride: int, cloud: CloudFilter) -> CloudFill:
        """depth: of the surfaces, ``float32 [H, W]``; frame: with its camera."""
        camera, image = frame.camera, frame.image
        assert camera is not None

        def kept() -> np.ndarray:
            known = depth()
            if known.shape != image.shape[:2]:
                raise ValueError(f"depth {known.shape} and image {image.shape} must agree in size")
            return self._filter(known, self._rays(frame, stride), stride, limits_of(cloud, camera, stride))

        def fill(out: np.ndarray) -> None:
            left, rays = kept(), self._rays(frame, stride)
            fill_kept(left, image, rays.x, rays.y, stride, cloud.intensity, out, out.view(np.uint32))

        size = cloud_size(camera.height, camera.width, stride) if cloud.organized else None
        return Made(size, lambda: self._dense(kept(), image, self._rays(frame, stride), stride, cloud), fill)


class DeviceCloud:
    """By torch on the device. Nothing waits there before the cloud is asked for; then, once, for the number of its points."""

    def __init__(self, device: torch.device) -> None:
        self._download = Download(device)
        self._rays: RayGrid[torch.Tensor] = RayGrid(lambda array: Upload(device)(array))  # rarely, and three of different sizes

    def begin(self, depth: torch.Tensor, image: torch.Tensor, frame: Frame, stride: int, cloud: CloudFilter) -> CloudFill:
        """depth: of the surfaces, ``float32 [H, W]``; image: ``uint8 [H, W, 3]``, there too; frame: with its camera."""
        assert frame.camera is not None
        image, rays = image[::stride, ::stride], self._rays(frame, stride)
        kept = kept_depth(depth[::stride, ::stride], rays, limits_of(cloud, frame.camera, stride))
        if cloud.organized:
            points = torch.stack((rays.x * kept, rays.y * kept, kept), -1).flatten(0, 1)
            made = packed_points(points, image.flatten(0, 1).float(), cloud.intensity).view(*kept.shape, 4)
            fetched = self._download(made)
            return Made((kept.shape[0], kept.shape[1]), fetched.values, lambda out: np.copyto(out, fetched.values()))

        def dense() -> np.ndarray:
            points, colors = cloud_points(kept, image, rays)
            if cloud.voxel_size > 0:
                points, colors = voxel_points(points, colors, cloud.voxel_size, cloud.voxel_point == "centroid")
            if 0 < cloud.max_points < len(points):
                left = torch.from_numpy(taken(len(points), cloud.max_points)).to(points.device)
                points, colors = points[left], colors[left]
            return packed_points(points, colors, cloud.intensity).cpu().numpy()

        return Made(None, dense, lambda out: None)


def compile_filters() -> None:
    """Compile every kernel of a filtered cloud now (some seconds on the first run, then cached on disk)."""
    frame = Frame(np.zeros((4, 4, 3), np.uint8), camera=Camera(4, 4, 4.0, 4.0, 1.5, 1.5))
    depth, made = np.ones((4, 4), np.float32), HostCloud()
    filters = (
        CloudFilter(flying_pixels=2.0, box=(-9.0, -9.0, -9.0, 9.0, 9.0, 9.0)),
        CloudFilter(voxel_size=0.1),
        CloudFilter(max_points=2),
    )
    for cloud in filters:
        fill = made.begin(lambda: depth, frame, 1, cloud)
        fill(np.empty((*fill.shape(), 4), np.float32))
