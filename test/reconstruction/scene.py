"""A scene whose geometry is exact: a wall and a box before it, seen by cameras that stand apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.networks.signed_log import log_signed
from depth_retrofit_ros.coarse.views import CoarseView, PointMap
from depth_retrofit_ros.reconstruction.geometry import inverse, moved, rays

COARSE = Camera.from_hfov(32, 24, 60.0)
FULL = COARSE.resized(96, 72)
WALL, BOX = 4.0, 2.0


def turned(angle: float, position: tuple[float, float, float]) -> np.ndarray:
    """World from camera, turned about the vertical."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s, position[0]], [0, 1, 0, position[1]], [-s, 0, c, position[2]]])


WORLD_FROM = (turned(0.0, (0.0, 0.0, 0.0)), turned(-0.1, (0.4, 0.05, 0.1)), turned(0.15, (-0.5, 0.0, -0.2)))


def exact_depth(camera: Camera, world_from_camera: np.ndarray) -> np.ndarray:
    """``float32 [h, w]`` of the wall z = WALL and of the box's front |x|, |y| < 0.5 at z = BOX, all in the world."""
    looks = world_from_camera[:, :3] @ rays(camera).reshape(3, -1).astype(np.float64)
    start = world_from_camera[:, 3:]
    to_box = (BOX - start[2]) / looks[2]
    on_box = np.abs(start[:2] + looks[:2] * to_box).max(0) < 0.5
    depth = np.where(on_box, to_box, (WALL - start[2]) / looks[2])
    return depth.reshape(camera.height, camera.width).astype(np.float32)


def coarse_view(number: int, confidence: float | None = None, world: np.ndarray | None = None) -> CoarseView:
    """The exact answer at the coarse size, with its point map; world: the pose that the world itself is moved by, ``[3, 4]``."""
    pose = WORLD_FROM[number]
    depth = exact_depth(COARSE, pose)
    points = moved(rays(COARSE) * depth, pose)
    camera_from_world = inverse(pose)
    if world is not None:
        points = moved(points, world)
        rotation = camera_from_world[:, :3] @ world[:, :3].T
        camera_from_world = np.concatenate((rotation, camera_from_world[:, 3:] - rotation @ world[:, 3:]), 1)
    features = torch.randn(8, *depth.shape, generator=torch.Generator().manual_seed(number))
    sure = None if confidence is None else torch.full(depth.shape, confidence)
    raw = log_signed(torch.from_numpy(points))
    prediction = CoarsePrediction(torch.from_numpy(depth), features)
    return CoarseView(prediction, FULL, camera_from_world, sure, PointMap(raw, features, sure))


def image(number: int) -> np.ndarray:
    """The box red, the wall with a gradient, ``uint8 [H, W, 3]``."""
    depth = exact_depth(FULL, WORLD_FROM[number])
    picture = np.full((*depth.shape, 3), 120, np.uint8)
    picture[..., 2] = np.linspace(60, 200, depth.shape[1]).astype(np.uint8)
    picture[depth < 3] = (220, 30, 30)
    return picture


class ExactModel:
    """``MultiViewModel`` that knows the scene. confidences: one for each view; world: see ``coarse_view``."""

    def __init__(self, confidences: tuple[float | None, ...] = (None, None, None), world: np.ndarray | None = None) -> None:
        self.confidences, self.world = confidences, world
        self.name = "exact"
        self.claim = ScaleClaim("metric", "file")
        self.device = torch.device("cpu")

    def predict_views(self, images: Iterable[torch.Tensor], point_maps: bool = False) -> list[CoarseView]:
        return [coarse_view(i, self.confidences[i], self.world) for i, _ in enumerate(images)]
