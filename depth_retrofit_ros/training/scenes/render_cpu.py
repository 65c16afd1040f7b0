"""The renderer compiled for the CPU, with area-sampled pixels: what is thinner than a pixel gets its share of it.

The same pictures as ``render.Renderer``, which is the specification, where ``samples`` is 1 and there is neither a lamp nor clouds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.render import NEAR_M, Rendering, screen_rectangles
from depth_retrofit_ros.training.scenes.render_kernels import SHADOW_SIZE, Lighting, SceneArrays, cast, cast_shadows, shade
from depth_retrofit_ros.training.scenes.scene import Pose, Scene, frame_along
from depth_retrofit_ros.training.scenes.textures import LEVELS, SIZE, TextureStack

SAMPLES = 3  # across a pixel; odd, so that one of them is its centre, whose depth is the pixel's


@dataclass(frozen=True, slots=True)
class Lamp:
    """A small light without shadows. at [3] m; power [3]: brightness at 1 m."""

    at: np.ndarray
    power: np.ndarray


class CompiledRenderer:
    """One scene, ready to be seen from any pose.

    lamp: beside the sun; clouds: texture of the sky, −1 for a plain one; shadows: (centre [3] m, radius [m]) of the ball where the
    sun casts them, None for everywhere.
    """

    def __init__(
        self,
        scene: Scene,
        textures: TextureStack,
        lamp: Lamp | None = None,
        clouds: int = -1,
        shadows: tuple[np.ndarray, float] | None = None,
    ) -> None:
        self.exposure = 1.0
        self._corners = scene.corners()
        fields = {name: getattr(scene, name).numpy() for name in SceneArrays._fields[:10]}
        self._arrays = SceneArrays(
            **fields, texels=textures.texels.numpy(), solid=textures.masks.numpy() > 0.5, size=SIZE, levels=LEVELS
        )
        light = scene.light
        sun_frame = frame_along(-light.to_sun.astype(np.float64))
        shadow, low, scale = self._shadow_map(sun_frame, scene.casts.numpy(), shadows)
        self._lighting = Lighting(
            to_sun=np.float64(light.to_sun),
            sun=np.float64(light.sun),
            ambient=np.float64(light.ambient),
            sky_top=np.float64(light.sky_top),
            sky_horizon=np.float64(light.sky_horizon),
            lamp_at=np.zeros(3) if lamp is None else np.float64(lamp.at),
            lamp=np.zeros(3) if lamp is None else np.float64(lamp.power),
            clouds=clouds,
            shadow=shadow,
            sun_frame=sun_frame,
            low=low,
            scale=scale,
            penumbra=light.penumbra,
        )

    def expose(self, camera: Camera, pose: Pose, mean: float = 0.18) -> None:
        """Auto-exposure: scale the light so that the view's linear mean becomes ``mean``; it then stays fixed for every window."""
        small = camera.resized(64, max(1, round(64 * camera.height / camera.width)))
        linear = self.render(small, pose, samples=1).image.pow(2.2).mean()
        self.exposure *= float(mean / linear.clamp_min(1e-4))

    def render(
        self, camera: Camera, pose: Pose, window: tuple[int, int, int, int] | None = None, samples: int = SAMPLES
    ) -> Rendering:
        """window: (x0, y0, width, height) in the camera's pixels; None for the whole image. Colour from ``samples × samples`` (odd)
        per pixel, where they show different things; depth at the pixel's centre."""
        x0, y0, width, height = window or (0, 0, camera.width, camera.height)
        offsets = (np.arange(samples) + 0.5) / samples - 0.5
        xs = ((x0 + np.arange(width)[:, None] + offsets).ravel() - camera.cx) / camera.fx
        ys = ((y0 + np.arange(height)[:, None] + offsets).ravel() - camera.cy) / camera.fy
        rotation, position = np.float64(pose.rotation), np.float64(pose.position)
        in_camera = (self._corners - torch.from_numpy(position).float()) @ torch.from_numpy(rotation).float()
        rectangles = screen_rectangles(in_camera, torch.from_numpy(xs).float(), torch.from_numpy(ys).float())
        to_local = self._arrays.rotation.transpose(0, 2, 1) @ rotation / self._arrays.half[:, :, None]
        origin = (self._arrays.rotation.transpose(0, 2, 1) @ (position - self._arrays.center)[:, :, None])[:, :, 0]
        depth = np.full((ys.size, xs.size), np.inf, np.float32)
        owner = np.full((ys.size, xs.size), -1, np.int32)
        cast(self._arrays, to_local, origin / self._arrays.half, np.array(rectangles, np.int64), xs, ys, NEAR_M, depth, owner)
        image = np.empty((height, width, 3), np.float32)
        shade(self._arrays, self._lighting, rotation, position, xs, ys, depth, owner, samples, camera.fx, self.exposure, image)
        middle = slice(samples // 2, None, samples)
        return Rendering(torch.from_numpy(image), torch.from_numpy(np.ascontiguousarray(depth[middle, middle])))

    def _shadow_map(
        self, sun_frame: np.ndarray, casts: np.ndarray, reach: tuple[np.ndarray, float] | None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Distance along the sun's rays of the nearest caster [S, S], inf where there is none; its corner [2] m and texels/m."""
        nearest = np.full((SHADOW_SIZE, SHADOW_SIZE), np.inf, np.float32)
        casters = np.flatnonzero(casts)
        if not casters.size:
            return nearest, np.zeros(2), 1.0
        corners = self._corners.numpy() @ sun_frame
        low, high = (f(corners[casters, :, :2], axis=(0, 1)) for f in (np.min, np.max))
        if reach is not None:
            center = (reach[0] @ sun_frame)[:2]
            low, high = np.maximum(low, center - reach[1]), np.minimum(high, center + reach[1])
        scale = (SHADOW_SIZE - 1) / max(float((high - low).max()), 1e-3)
        texel = (corners[..., :2] - low) * scale
        rectangles = np.concatenate([np.floor(texel.min(1)), np.ceil(texel.max(1)) + 1], 1).clip(0, SHADOW_SIZE).astype(np.int64)
        to_local = self._arrays.rotation.transpose(0, 2, 1) @ sun_frame / self._arrays.half[:, :, None]
        origin = (self._arrays.rotation.transpose(0, 2, 1) @ self._arrays.center[:, :, None])[:, :, 0] / self._arrays.half
        cast_shadows(self._arrays, to_local, origin, rectangles, casters, low, scale, nearest)
        return nearest, low, scale
