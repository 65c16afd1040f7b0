"""The least that a scene needs: one grey texture, an even light, one primitive."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.training.scenes.render import Renderer
from depth_retrofit_ros.training.scenes.scene import Kind, Light, Material, Pose, SceneBuilder, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import LEVELS, SIZE, TextureStack

ORIGIN = Pose(np.eye(3), np.zeros(3))
GRAY = Material(texture=0, scale_m=1.0, tint=np.ones(3))
TEXELS = sum((SIZE >> level) ** 2 for level in range(LEVELS))


def flat_textures(masks: np.ndarray | None = None) -> TextureStack:
    """Eight times the same mid grey; masks: cut-outs ``float32 [M, SIZE, SIZE]``, all solid if None."""
    texels = torch.full((8, TEXELS, 3), 128, dtype=torch.uint8)
    solid = np.ones((1, SIZE, SIZE), np.float32) if masks is None else masks
    return TextureStack(texels, torch.from_numpy(solid), plain=4)


def even_light(sun: float = 0.0, to_sun: tuple[float, float, float] = (0.0, -1.0, 0.0)) -> Light:
    """From everywhere, and from a sun where ``sun`` > 0."""
    ones = np.ones(3, np.float32)
    return Light(np.array(to_sun, np.float32), sun * ones, ones, 1.0, 0.2 * ones, 0.4 * ones)


def renderer_of(builder: SceneBuilder, light: Light | None = None, textures: TextureStack | None = None) -> Renderer:
    """Ready to be looked at."""
    return Renderer(builder.build(light or even_light()), textures or flat_textures())


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Any orientation."""
    return rotation_ypr(*rng.uniform(0, 2 * np.pi, 3))


def placed(kind: Kind, seed: int) -> tuple[SceneBuilder, Pose]:
    """One primitive of random size and orientation some metres in front of a camera that stands and looks anyhow."""
    rng = np.random.default_rng((int(kind), seed))
    pose = Pose(random_rotation(rng), rng.uniform(-5, 5, 3))
    in_camera = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), rng.uniform(4, 6)])
    builder = SceneBuilder()
    builder.add(kind, pose.position + pose.rotation @ in_camera, rng.uniform(0.3, 1.5, 3), GRAY, random_rotation(rng))
    return builder, pose
