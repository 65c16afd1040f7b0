"""Dead leaves: flat textured shapes that occlude one another at random depths, the simplest scene with natural edge statistics.

Sizes follow a power law, so that edges occur at every scale (Lee, Mumford & Huang, "Occlusion models for natural images", 2001).
"""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.layout import MASKS_GRID, MASKS_PLANT, Decorator, SceneAndPose, random_light
from depth_retrofit_ros.training.scenes.scene import Kind, Pose, SceneBuilder, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import TextureStack


def dead_leaves(rng: np.random.Generator, textures: TextureStack, camera: Camera) -> SceneAndPose:
    """Tilted quads, flat discs and strips in layers before a back wall, filling the camera's view."""
    deco, b = Decorator(rng, textures), SceneBuilder()
    near, far = rng.uniform(0.5, 3), rng.uniform(6, 60)
    reach_x, reach_y = 0.6 * camera.width / camera.fx, 0.6 * camera.height / camera.fy
    b.add(Kind.QUAD, (0, 0, far), (4 * far, 4 * far, 1), deco.large(far), rotation_ypr(rng.normal(0, 0.2), rng.normal(0, 0.2), 0))
    for _ in range(rng.integers(30, 110)):
        z = 1 / rng.uniform(1 / far, 1 / near)
        at = np.array([rng.uniform(-reach_x, reach_x) * z, rng.uniform(-reach_y, reach_y) * z, z])
        # p(r) ~ r^-3 between 1 % and 35 % of half the view's width, by inverse transform.
        low, high = 0.01 * reach_x * z, 0.35 * reach_x * z
        r = 1 / np.sqrt(rng.uniform(1 / high**2, 1 / low**2))
        tilt = rotation_ypr(rng.normal(0, 0.4), rng.normal(0, 0.4), rng.uniform(0, 2 * np.pi))
        _leaf(rng, deco, b, at, 2.5 * r, tilt)
    pose = Pose(np.eye(3), np.zeros(3))
    return SceneAndPose(b.build(random_light(rng, outdoors=False)), pose, "leaves")


def _leaf(rng: np.random.Generator, deco: Decorator, b: SceneBuilder, at: np.ndarray, r: float, tilt: np.ndarray) -> None:
    shape = rng.choice(["quad", "disc", "strip", "cut"], p=[0.3, 0.35, 0.2, 0.15])
    if shape == "disc":
        b.add(Kind.ELLIPSOID, at, (r, r * rng.uniform(0.3, 1), 1e-3 * r), deco.solid(), tilt)
    elif shape == "strip":
        b.add(Kind.QUAD, at, (3 * r, r * rng.uniform(0.01, 0.15), 1), deco.solid(), tilt)
    elif shape == "cut":
        b.add(Kind.QUAD, at, (r, r, 1), deco.cut(MASKS_GRID + MASKS_PLANT, 2 * r), tilt)
    else:
        b.add(Kind.QUAD, at, (r, r * rng.uniform(0.2, 1), 1), deco.solid(), tilt)
