"""Which points of a depth map are published: range, points between two surfaces, and a box in some frame.

A point between two surfaces lies on a slope that no surface shows: a model's soft edge falls from one to the other over some
pixels, where a surface that is seen so far from the side would be thinner than a pixel. So a point goes where its slope to the
neighbors on both sides of a row or column is steeper, in one direction, than a surface that the ray meets at ``flying_pixels``
degrees; and so do the few points between two such ones, the top of what was blurred. A sharp edge keeps both of its sides, and
something that is one pixel wide is the nearest or the farthest of three, not in between. All of it depends on ratios of depth and
on angles alone. Where each pixel has a ray of its own the ratios are of distances, and neighboring rays count as ``1/f`` rad apart,
as an equidistant lens has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.pointcloud.poses import IDENTITY, Pose, rotation_matrix
from depth_retrofit_ros.pointcloud.ray_grid import Rays

GAP_RAD = 0.0085  # the widest run of points between two that are cut, which goes too
Box = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class CloudFilter:
    """What is left of a cloud, and in which form; the defaults leave everything.

    range_min, range_max: distance from the camera [m], 0: no limit. flying_pixels: [deg], see above, 0: none is cut. box: x, y, z
    at least and at most [m] in the frame in which the optical frame has ``pose`` (position [m], unit quaternion x y z w); None: no
    box. keep_sky: the sky at its far limit, instead of no points. voxel_size: side of the cells that are given one point each [m],
    0: every point. voxel_point: the mean of a cell's points, or the first of them. max_points: of the cloud, 0: no limit.
    intensity: the luminance 0…255 instead of the color. Raises OutputError where the range is empty.
    """

    range_min: float = 0.0
    range_max: float = 0.0
    flying_pixels: float = 0.0
    box: Box | None = None
    pose: Pose = IDENTITY
    keep_sky: bool = False
    voxel_size: float = 0.0
    voxel_point: Literal["centroid", "first"] = "centroid"
    max_points: int = 0
    intensity: bool = False

    def __post_init__(self) -> None:
        if 0 < self.range_max <= self.range_min:
            raise OutputError(f"range_min {self.range_min:g} must be below range_max {self.range_max:g}")

    @property
    def cuts(self) -> bool:
        """Whether it takes single points out."""
        return self.range_min > 0 or self.range_max > 0 or self.flying_pixels > 0 or self.box is not None

    @property
    def organized(self) -> bool:
        """Whether the cloud keeps the layout of the image, with NaN for points that were taken out."""
        return self.voxel_size <= 0 and self.max_points <= 0

    @property
    def plain(self) -> bool:
        """Whether the cloud is that of ``organized.fill_cloud``."""
        return self.organized and not self.cuts and not self.intensity


EVERYTHING = CloudFilter()


@dataclass(frozen=True, slots=True)
class Limits:
    """A filter in the units of one grid of points.

    squared: of the range [m²]. steep: ratio of neighbouring depths in a row and in a column above which a slope is too steep.
    gaps: the longest run of points between two cut ones, in a row and in a column. turn ``float32 [3, 3]``, shift ``float32 [3]``:
    optical frame → that of the box; low, high ``float32 [3]``.
    """

    squared: tuple[float, float]
    steep: tuple[float, float] | None
    gaps: tuple[int, int]
    turn: np.ndarray
    shift: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def boxed(self) -> bool:
        """Whether there is a box."""
        return bool(np.isfinite(self.low).any())


def limits_of(cloud: CloudFilter, camera: Camera, stride: int) -> Limits:
    """For every ``stride``-th pixel of the camera's image."""
    steep, gaps = None, (0, 0)
    if cloud.flying_pixels > 0:
        run = math.tan(math.radians(cloud.flying_pixels))
        ratios = [float(np.float32(math.exp(min(80.0, stride / (f * run))))) for f in (camera.fx, camera.fy)]
        steep, gaps = (ratios[0], ratios[1]), (int(GAP_RAD * camera.fx / stride), int(GAP_RAD * camera.fy / stride))
    box = (-math.inf,) * 3 + (math.inf,) * 3 if cloud.box is None else cloud.box
    far = cloud.range_max**2 if cloud.range_max > 0 else math.inf
    shift, low, high = (np.asarray(vector, np.float32) for vector in (cloud.pose[:3], box[:3], box[3:]))
    return Limits((cloud.range_min**2, far), steep, gaps, rotation_matrix(cloud.pose[3:]).astype(np.float32), shift, low, high)


def kept_depth(depth: Tensor, rays: Rays[Tensor], limits: Limits) -> Tensor:
    """The depth ``float32 [h, w]`` of a grid of points, NaN where a point is unknown or taken out.

    Plain torch, on any device and without waiting for it: the specification of ``filters_cpu``. A confidence takes points out
    before: their depth is NaN here.
    """
    keep = (depth > 0) & (depth < torch.inf)
    x, y = rays.x * depth, rays.y * depth
    squared = x * x + y * y + depth * depth
    keep &= (squared >= limits.squared[0]) & (squared <= limits.squared[1])
    if limits.boxed:
        for axis in range(3):
            a, b, c = (float(v) for v in limits.turn[axis])
            along = a * x + b * y + c * depth + float(limits.shift[axis])
            keep &= (along >= float(limits.low[axis])) & (along <= float(limits.high[axis]))
    if limits.steep is not None:
        keep &= ~flying(depth if rays.stretch is None else rays.stretch * depth, limits.steep, limits.gaps)
    return torch.where(keep, depth, torch.nan)


def flying(depth: Tensor, steep: tuple[float, float], gaps: tuple[int, int]) -> Tensor:
    """Points between two surfaces, ``bool [h, w]``; see ``Limits``. depth: or distance, ``float32 [h, w]``."""
    found = torch.zeros_like(depth, dtype=torch.bool)
    for axis, ratio in ((1, steep[0]), (0, steep[1])):
        size = depth.shape[axis]
        if size < 3:
            continue
        before, here, after = (depth.narrow(axis, start, size - 2) for start in range(3))
        up, down = (before * ratio < here) & (here * ratio < after), (before > here * ratio) & (here > after * ratio)
        found.narrow(axis, 1, size - 2).logical_or_(up | down)
    return _closed(found, 1, gaps[0]) | _closed(found, 0, gaps[1])


def _closed(found: Tensor, axis: int, gap: int) -> Tensor:
    """With runs of at most ``gap`` between two that are found."""
    if gap < 1:
        return found
    size, far = found.shape[axis], 1 << 30
    place = torch.arange(size, device=found.device)
    place = place[None, :] if axis else place[:, None]
    last = torch.where(found, place, -far).cummax(axis).values
    following = torch.where(found, place, far).flip(axis).cummin(axis).values.flip(axis)
    return following - last - 1 <= gap
