"""Depth of one primitive by the textbook, in float64: what the renderer is checked against.

Points are tested against each face in the world frame; nothing is shared with the renderer, which works in the unit shape's frame.
"""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.scene import Kind, Pose, SceneBuilder


def depth_of(builder: SceneBuilder, camera: Camera, pose: Pose) -> np.ndarray:
    """Depth [H, W] of the builder's only primitive, inf where it is not hit."""
    y, x = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1) @ pose.rotation.T
    center, axes, half = (np.asarray(v[0], np.float64) for v in (builder.centers, builder.rotations, builder.halves))
    to_center = center - pose.position
    kind = Kind(builder.kinds[0])
    if kind == Kind.QUAD:
        return _rectangle(rays, to_center, axes, half, 2, 0.0)
    if kind == Kind.BOX:
        faces = [_rectangle(rays, to_center, axes, half, axis, side * half[axis]) for axis in range(3) for side in (-1, 1)]
        return np.minimum.reduce(faces)
    if kind == Kind.ELLIPSOID:
        return _quadric(rays, to_center, axes @ np.diag(1 / half**2) @ axes.T)
    shape = axes[:, :2] @ np.diag(1 / half[:2] ** 2) @ axes[:, :2].T
    side = _quadric(rays, to_center, shape)
    along = (np.where(np.isfinite(side), side, 0)[..., None] * rays - to_center) @ axes[:, 2]
    side = np.where(np.abs(along) < half[2], side, np.inf)
    caps = [_disc(rays, to_center, axes, half, end * half[2]) for end in (-1, 1)]
    return np.minimum.reduce([side, *caps])


def _plane(rays: np.ndarray, to_center: np.ndarray, axes: np.ndarray, axis: int, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth of the plane ``offset`` along an axis of the primitive, and the points in its axes."""
    normal = axes[:, axis]
    t = (to_center @ normal + offset) / (rays @ normal)
    return np.where(t > 0, t, np.inf), (t[..., None] * rays - to_center) @ axes


def _rectangle(rays: np.ndarray, to_center: np.ndarray, axes: np.ndarray, half: np.ndarray, axis: int, offset: float) -> np.ndarray:
    t, local = _plane(rays, to_center, axes, axis, offset)
    others = [i for i in range(3) if i != axis]
    return np.where((np.abs(local[..., others]) < half[others]).all(-1), t, np.inf)


def _disc(rays: np.ndarray, to_center: np.ndarray, axes: np.ndarray, half: np.ndarray, offset: float) -> np.ndarray:
    t, local = _plane(rays, to_center, axes, 2, offset)
    return np.where(((local[..., :2] / half[:2]) ** 2).sum(-1) < 1, t, np.inf)


def _quadric(rays: np.ndarray, to_center: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The nearer root of (t·r − c)ᵀ A (t·r − c) = 1."""
    a = np.einsum("...i,ij,...j", rays, shape, rays)
    b = np.einsum("...i,ij,j", rays, shape, to_center)
    discriminant = b**2 - a * (to_center @ shape @ to_center - 1)
    t = (b - np.sqrt(np.maximum(discriminant, 0))) / a
    return np.where((discriminant > 0) & (t > 0), t, np.inf)
