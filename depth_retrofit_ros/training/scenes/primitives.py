"""The world of boxes, cylinders and cut-out quads: rooms, streets, clutter and dead leaves, on CPU and CUDA."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.dead_leaves import dead_leaves
from depth_retrofit_ros.training.scenes.layout import SceneAndPose, random_scene
from depth_retrofit_ros.training.scenes.render import Renderer, Rendering
from depth_retrofit_ros.training.scenes.scene import Pose
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures, check_photos
from depth_retrofit_ros.training.scenes.world import WorldSpec, check_camera, usable


@dataclass(frozen=True, slots=True)
class PrimitivesView:
    """One exposed scene. kind: room, street, clutter, leaves."""

    renderer: Renderer
    pose: Pose
    kind: str

    def render(self, camera: Camera, window: tuple[int, int, int, int] | None = None) -> Rendering:
        """See ``View.render``."""
        return self.renderer.render(camera, self.pose, window)


@dataclass(frozen=True, slots=True)
class PrimitivesWorld:
    """See ``World``; textures are on the device that renders."""

    textures: TextureStack
    device: torch.device

    def view(self, rng: np.random.Generator, camera: Camera) -> PrimitivesView:
        """See ``World.view``."""
        renderer, placed = usable_scene(rng, self.textures, self.device, camera)
        renderer.expose(camera, placed.pose, float(np.exp(rng.normal(np.log(0.17), 0.35))))
        return PrimitivesView(renderer, placed.pose, placed.kind)


def load_world(spec: WorldSpec) -> PrimitivesWorld:
    """The world with the spec's textures."""
    device = torch.device(spec.device)
    return PrimitivesWorld(build_textures(spec.seed, photos=spec.photos).to(device), device)


def check_sources(spec: WorldSpec) -> None:
    """Raises ImageError for photographs that are none."""
    if spec.photos is not None:
        check_photos(spec.photos)


def usable_scene(
    rng: np.random.Generator, textures: TextureStack, device: torch.device, camera: Camera
) -> tuple[Renderer, SceneAndPose]:
    """Draw scenes until one is usable."""
    while True:
        placed = dead_leaves(rng, textures, camera) if rng.random() < 0.15 else random_scene(rng, textures)
        renderer = Renderer(placed.scene.to(device), textures)
        if usable(renderer.render(check_camera(camera), placed.pose).depth):
            return renderer, placed
