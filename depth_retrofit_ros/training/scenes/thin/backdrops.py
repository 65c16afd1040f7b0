"""What thin things stand before: a wall, a yard under the sky, or a whole scene of the world of primitives."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.training.scenes.layout import MASKS_PLANT, Decorator, random_light, random_scene
from depth_retrofit_ros.training.scenes.scene import Kind, Light, Material, Pose, Scene, SceneBuilder, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import TextureStack


@dataclass(frozen=True, slots=True)
class Backdrop:
    """pose: of the camera; outdoors: whether the sky may be seen; the floor is y = 0."""

    scene: Scene
    pose: Pose
    outdoors: bool

    def materials(self, rng: np.random.Generator) -> list[Material]:
        """Of some of its surfaces, the large ones first among them."""
        s = self.scene
        order = np.argsort(-s.half.numpy().prod(1))[:8]
        picked = [*order[:4], *rng.integers(len(s.kind), size=4)]
        return [Material(int(s.texture[i]), float(s.scale_m[i]), s.tint[i].numpy(), float(s.gloss[i])) for i in picked]


def random_backdrop(rng: np.random.Generator, textures: TextureStack) -> Backdrop:
    """One of the three."""
    chance = rng.random()
    if chance < 0.35:
        placed = random_scene(rng, textures)
        return Backdrop(placed.scene, placed.pose, placed.kind == "street")
    return (_wall if chance < 0.65 else _yard)(rng, textures)


def joined(scene: Scene, more: Scene) -> Scene:
    """All primitives of both under the first one's light."""
    names = [f.name for f in fields(scene) if f.name != "light"]
    tensors: dict[str, Any] = {name: torch.cat([getattr(scene, name), getattr(more, name)]) for name in names}
    return replace(scene, **tensors)


def _pose(rng: np.random.Generator, eye_height: float) -> Pose:
    turn = rotation_ypr(rng.normal(0, 0.3), rng.normal(-0.08, 0.15), rng.normal(0, 0.03))
    return Pose(turn, np.array([0.0, -eye_height, 0.0]))


def _wall(rng: np.random.Generator, textures: TextureStack) -> Backdrop:
    """A wall at any distance and slant on a floor, perhaps a corner, things that lean on it and hang on it."""
    deco, b = Decorator(rng, textures), SceneBuilder()
    far, flat = float(np.exp(rng.uniform(np.log(1.5), np.log(14)))), rotation_ypr(0, np.pi / 2, 0)
    slant = rotation_ypr(rng.normal(0, 0.35), 0, 0)
    b.add(Kind.QUAD, (0, 0, 0), (9 * far, 9 * far, 1), deco.large(min(far, 3)), flat, False)
    b.add(Kind.QUAD, (0, 0, far), (8 * far, 6 * far, 1), deco.large(far), slant, False)
    if rng.random() < 0.4:
        side = rng.choice([-1, 1]) * rng.uniform(0.6, 1.5) * far
        b.add(Kind.QUAD, (side, 0, 0), (6 * far, 6 * far, 1), deco.large(far), rotation_ypr(np.pi / 2, 0, 0), False)
    if rng.random() < 0.3:
        b.add(Kind.QUAD, (0, -max(2.2, far * rng.uniform(0.4, 1)), 0), (9 * far, 9 * far, 1), deco.large(3), flat, False)
    for _ in range(rng.integers(0, 7)):  # pictures, windows: edges of the texture without one of the depth
        at = np.array([rng.uniform(-far, far), -rng.uniform(0, far), 0])
        half = far * np.array([*np.exp(rng.uniform(np.log(0.03), np.log(0.4), 2)), 0.01])
        b.add(Kind.BOX, slant @ at + [0, 0, far], half, deco.solid(), slant, False)
    for _ in range(rng.integers(0, 8)):
        half = np.exp(rng.uniform(np.log(0.04), np.log(0.25), 3)) * far
        at = np.array([rng.uniform(-far, far), -half[1], far * rng.uniform(0.5, 0.95)])
        kind = Kind(int(rng.choice([Kind.BOX, Kind.BOX, Kind.ELLIPSOID])))
        b.add(kind, at, half, deco.solid(), rotation_ypr(rng.uniform(0, 6), 0, 0))
    eye = rng.uniform(0.3, 1.9)
    return Backdrop(b.build(random_light(rng, outdoors=False)), _pose(rng, eye), False)


def _yard(rng: np.random.Generator, textures: TextureStack) -> Backdrop:
    """Ground to the horizon; hills, houses, hedges at some distance, or none."""
    deco, b = Decorator(rng, textures), SceneBuilder()
    reach = float(np.exp(rng.uniform(np.log(15), np.log(250))))
    b.add(Kind.QUAD, (0, 0, 0), (4 * reach, 4 * reach, 1), deco.large(rng.uniform(1, 6)), rotation_ypr(0, np.pi / 2, 0), False)
    for _ in range(rng.integers(0, 9)):
        z = reach * rng.uniform(0.1, 1)
        at = np.array([rng.uniform(-0.8, 0.8) * z, 0, z])
        half = np.array([rng.uniform(2, 12), rng.uniform(1.2, 9), rng.uniform(2, 8)]) * min(1, z / 15)
        b.add(Kind.BOX, at - [0, half[1], 0], half, deco.large(4), rotation_ypr(rng.uniform(0, 6), 0, 0), False)
    for _ in range(rng.integers(0, 4)):
        z, r = reach * rng.uniform(0.6, 2), reach * rng.uniform(0.2, 0.8)
        b.add(
            Kind.ELLIPSOID, (rng.uniform(-1, 1) * z, 0, z + r), (2 * r, r * rng.uniform(0.1, 0.4), r), deco.large(20), None, False
        )
    for _ in range(rng.integers(0, 12)):  # bushes and crowns
        z = reach * rng.uniform(0.05, 0.6)
        r = rng.uniform(0.5, 2.5) * min(1, z / 5)
        leaves = deco.cut(MASKS_PLANT, r * rng.uniform(0.6, 2))
        leaves.tint = np.clip(np.array([0.4, 0.6, 0.25]) + rng.normal(0, 0.1, 3), 0.05, 1) * rng.uniform(0.4, 1.3)
        at = np.array([rng.uniform(-0.8, 0.8) * z, -rng.choice([0.8 * r, 3 * r]), z])
        for _ in range(rng.integers(3, 7)):
            turn = rotation_ypr(*rng.uniform(0, 2 * np.pi, 3))
            b.add(Kind.QUAD, at + rng.normal(0, 0.3 * r, 3), (r, r * rng.uniform(0.6, 1.2), 1), leaves, turn)
    return Backdrop(b.build(random_light(rng, outdoors=True)), _pose(rng, rng.uniform(0.3, 2.2)), True)


def at_night(rng: np.random.Generator, light: Light) -> Light:
    """Hardly anything of the light is left."""
    dim = float(np.exp(rng.uniform(np.log(0.01), np.log(0.08))))
    sky = np.asarray(light.sky_top * rng.uniform(0.005, 0.06), np.float32)
    return replace(light, sun=light.sun * dim, ambient=light.ambient * dim, sky_top=sky, sky_horizon=sky * 2)
