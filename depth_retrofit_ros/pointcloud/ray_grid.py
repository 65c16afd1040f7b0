"""The rays of every n-th pixel, of a pinhole camera or of a lens whose image stays as it is, in one form for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.lens import RayTable

Array = TypeVar("Array", np.ndarray, torch.Tensor)


@dataclass(frozen=True, slots=True)
class Rays(Generic[Array]):
    """Of a grid ``[h, w]`` of pixels, contiguous.

    x: ``x/z``, ``float32 [1, w]``, or ``[h, w]`` where each pixel has its own; y: ``y/z``, ``float32 [h, 1]`` or ``[h, w]``; NaN
    where a lens has no ray. stretch: distance from the camera by depth, ``float32 [h, w]``; None of a pinhole camera.
    """

    x: Array
    y: Array
    stretch: Array | None = None


def rays_of(camera: Camera, optics: object, stride: int) -> Rays[np.ndarray]:
    """Of every ``stride``-th pixel. optics: of ``Frame``."""
    if isinstance(optics, RayTable):
        x, y = (np.array(optics.slopes[::stride, ::stride, axis], order="C") for axis in range(2))
        return Rays(x, y, np.sqrt(1 + x * x + y * y))
    x, y = camera.ray_slopes()
    return Rays(np.array(x[None, ::stride], order="C"), np.array(y[::stride, None], order="C"))


class RayGrid(Generic[Array]):
    """``rays_of`` a frame, made once for all that have one camera. sent: brings an array to where the rays are used."""

    def __init__(self, sent: Callable[[np.ndarray], Array]) -> None:
        self._sent: Callable[[np.ndarray], Array] = sent
        self._of: tuple[Camera, object, int] | None = None
        self._rays: Rays[Array] | None = None

    def __call__(self, frame: Frame, stride: int) -> Rays[Array]:
        """frame: with its camera."""
        assert frame.camera is not None
        optics = frame.optics if isinstance(frame.optics, RayTable) else None
        if self._rays is None or self._of is None or self._of[1] is not optics or self._of[::2] != (frame.camera, stride):
            rays = rays_of(frame.camera, optics, stride)
            stretch = None if rays.stretch is None else self._sent(rays.stretch)
            self._rays, self._of = Rays(self._sent(rays.x), self._sent(rays.y), stretch), (frame.camera, optics, stride)
        return self._rays
