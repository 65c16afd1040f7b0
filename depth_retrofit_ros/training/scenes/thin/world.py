"""Thin things before a background: each of a width drawn in the picture, and nearer than what is behind it there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.layout import Decorator
from depth_retrofit_ros.training.scenes.photo_library import open_library
from depth_retrofit_ros.training.scenes.render import Rendering
from depth_retrofit_ros.training.scenes.render_cpu import CompiledRenderer, Lamp
from depth_retrofit_ros.training.scenes.scene import Pose, SceneBuilder, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures
from depth_retrofit_ros.training.scenes.thin import plants, things
from depth_retrofit_ros.training.scenes.thin.backdrops import Backdrop, at_night, joined, random_backdrop
from depth_retrofit_ros.training.scenes.thin.pen import THINNEST, WIDEST, Pen, Spot
from depth_retrofit_ros.training.scenes.world import WorldSpec, check_camera, usable

NEAREST_M, FARTHEST_M = 0.5, 60.0  # of things; the sky counts as the farthest
MAX_PRIMITIVES = 4000
TEXTURES, PHOTOS, PHOTO_TEXTURES = 144, 60, 120  # of the stack; images of either kind that half of them are cut from
NIGHT, LAMP = 0.06, 0.2  # shares of the scenes
HANGING = (things.cables, things.net, things.blinds, plants.foliage, plants.hair, things.clothes_line)
_WEIGHTS = {**things.MAKERS, **plants.MAKERS}


@dataclass(frozen=True, slots=True)
class ThinView:
    """One exposed scene of kind thin."""

    renderer: CompiledRenderer
    pose: Pose
    kind: str = "thin"

    def render(self, camera: Camera, window: tuple[int, int, int, int] | None = None) -> Rendering:
        """See ``View.render``."""
        return self.renderer.render(camera, self.pose, window)


@dataclass(frozen=True, slots=True)
class ThinWorld:
    """See ``World``."""

    textures: TextureStack

    def view(self, rng: np.random.Generator, camera: Camera) -> ThinView:
        """See ``World.view``."""
        while True:
            view = self._draw(rng, camera)
            if usable(view.renderer.render(check_camera(camera), view.pose, samples=1).depth):
                return view

    def _draw(self, rng: np.random.Generator, camera: Camera) -> ThinView:
        back = random_backdrop(rng, self.textures)
        builder = SceneBuilder()
        pen = Pen(rng, Decorator(rng, self.textures), builder, back.materials(rng))
        placer = Placer(back, camera, self.textures)
        names, weights = list(_WEIGHTS), np.array(list(_WEIGHTS.values()), float)
        weights *= rng.exponential(1, len(weights))  # a scene has its favourites
        distances = []
        for _ in range(rng.integers(2, 12)):
            maker = names[rng.choice(len(names), p=weights / weights.sum())]
            spot = placer.spot(rng, floating=maker in HANGING or rng.random() < 0.12)
            maker(pen, spot)
            distances.append(spot.distance)
            if len(builder.kinds) > MAX_PRIMITIVES:
                break
        scene = joined(back.scene, builder.build(back.scene.light))

        night = rng.random() < NIGHT
        lamp = self._lamp(rng, back.pose, distances, night) if night or rng.random() < LAMP else None
        if night:
            scene = replace(scene, light=at_night(rng, scene.light))
        clouds = int(rng.integers(self.textures.plain)) if not night and rng.random() < 0.35 else -1
        reach = float(np.median(distances))
        focus = back.pose.position + back.pose.rotation @ np.array([0, 0, reach])
        renderer = CompiledRenderer(scene, self.textures, lamp, clouds, (focus, 2 * reach))
        mean = 0.05 if night else 0.17
        renderer.expose(camera, back.pose, float(np.exp(rng.normal(np.log(mean), 0.35))))
        return ThinView(renderer, back.pose)

    @staticmethod
    def _lamp(rng: np.random.Generator, pose: Pose, distances: list[float], night: bool) -> Lamp:
        """Somewhere among the things or beside the camera, warm or white."""
        away = float(rng.choice(distances)) * rng.uniform(0, 1.3)
        at = pose.position + pose.rotation @ (np.array([0, 0, away]) + rng.normal(0, 0.4, 3) * (away + 0.5))
        color = np.array([1.0, rng.uniform(0.7, 1.0), rng.uniform(0.4, 1.0)])
        return Lamp(at, color * (1.0 if night else rng.uniform(0.3, 2)) * (away + 0.5) ** 2)


class Placer:
    """Finds spots before a backdrop: a place in the picture, nearer than what is seen there."""

    def __init__(self, back: Backdrop, camera: Camera, textures: TextureStack) -> None:
        self.pose, self.small = back.pose, check_camera(camera)
        bare = replace(back.scene, casts=torch.zeros_like(back.scene.casts))
        self.depth = CompiledRenderer(bare, textures).render(self.small, back.pose, samples=1).depth.clamp_max(FARTHEST_M).numpy()
        self.meter_per_share = max(camera.width, camera.height) / camera.fx  # of the long side, at 1 m

    def spot(self, rng: np.random.Generator, floating: bool) -> Spot:
        """Standing on the floor, or in the air where ``floating``."""
        height, width = self.depth.shape
        col = int(rng.integers(width))
        row = int(rng.integers(height // 8, 7 * height // 8)) if floating else int(rng.uniform(0.0, 0.65) * height)
        behind = float(self.depth[row, col])
        nearest = max(NEAREST_M, 0.05 * behind)
        z = float(np.exp(rng.uniform(np.log(nearest), np.log(max(0.92 * behind, nearest * 1.01)))))
        top = self._at(row, col, z)
        share = float(np.exp(rng.uniform(np.log(THINNEST), np.log(WIDEST))))
        tall = float(rng.uniform(0.15, 0.8)) * z * self.small.height / self.small.fy
        foot = top + [0, tall, 0] if floating else np.array([top[0], 0.0, top[2]])
        if not floating:
            tall = max(float(-top[1]), 0.1 * z * self.small.height / self.small.fy)
        facing = np.arctan2(foot[0] - self.pose.position[0], foot[2] - self.pose.position[2])
        turn = rotation_ypr(facing + rng.normal(0, 0.6), 0, 0)
        return Spot(foot, turn, tall, z, share * self.meter_per_share * z)

    def _at(self, row: int, col: int, z: float) -> np.ndarray:
        ray = np.array([(col - self.small.cx) / self.small.fx, (row - self.small.cy) / self.small.fy, 1.0])
        return np.asarray(self.pose.position + self.pose.rotation @ (z * ray))


def check_sources(spec: WorldSpec) -> None:
    """Raises ImageError for photographs that are none, DatasetError for assets without textures."""
    open_library(spec)


def load_world(spec: WorldSpec) -> ThinWorld:
    """The world with the spec's textures."""
    rng = np.random.default_rng((spec.seed, 1))
    images = open_library(spec).images(rng, PHOTOS, PHOTO_TEXTURES)
    return ThinWorld(build_textures(spec.seed, TEXTURES, images=images, share=0.55 if images else 0.0))
