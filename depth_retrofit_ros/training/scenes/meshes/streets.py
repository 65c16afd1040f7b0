"""The world under the open sky: streets and yards."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.meshes.assets import Assets, open_assets
from depth_retrofit_ros.training.scenes.meshes.outdoors import Outdoors
from depth_retrofit_ros.training.scenes.meshes.palette import Palette
from depth_retrofit_ros.training.scenes.meshes.placing import Footprint
from depth_retrofit_ros.training.scenes.meshes.sky import random_sky
from depth_retrofit_ros.training.scenes.meshes.soup import SoupBuilder
from depth_retrofit_ros.training.scenes.meshes.street import furnish_street
from depth_retrofit_ros.training.scenes.meshes.view import Ambient, MeshView, expose_at_random, most_interesting
from depth_retrofit_ros.training.scenes.meshes.yard import furnish_yard
from depth_retrofit_ros.training.scenes.scene import Pose, rotation_ypr
from depth_retrofit_ros.training.scenes.world import WorldSpec

POSES = 6  # at most, of which the one that shows most things is taken
NIGHTS = 0.12
YARDS = 0.45


class Streets:
    """World of world.py."""

    def __init__(self, assets: Assets) -> None:
        self.assets = assets

    def view(self, rng: np.random.Generator, camera: Camera) -> MeshView:
        """A street or a yard, seen from where a person might walk in it."""
        while True:
            night = rng.random() < NIGHTS
            sky = random_sky(rng, night)
            builder = SoupBuilder()
            outdoors = Outdoors(Palette(rng, self.assets.textures, builder), self.assets.models, night)
            kind = "yard" if rng.random() < YARDS else "street"
            {"yard": furnish_yard, "street": furnish_street}[kind](outdoors)
            ambient = _light(rng, builder, outdoors, sky, night)
            poses = [_pose(rng, outdoors, kind) for _ in range(POSES)]
            view = MeshView(kind, builder.build(), poses[0], sky, ambient)
            if most_interesting(view, camera, poses[: rng.integers(2, POSES + 1)]):
                expose_at_random(view, rng, camera)
                return view


def _light(rng: np.random.Generator, builder: SoupBuilder, outdoors: Outdoors, sky, night: bool) -> Ambient:  # type: ignore[no-untyped-def]
    day = (sky.zenith + sky.horizon) / 2
    if sky.sun.any():
        builder.sun(sky.to_sun, float(rng.uniform(0.005, 0.02)), sky.sun)
    level = day * 0.55
    if night:
        warm = np.array([1.0, 0.75, 0.45]) if rng.random() < 0.6 else np.array([0.8, 0.9, 1.0])
        for at in outdoors.lamps[:4] or [np.array([0.0, -4.0, 6.0])]:
            builder.sphere_light(at, 0.12, warm * rng.uniform(2, 6))
        level = level + 0.015
    return Ambient(color=level, near=0.3, reach=6.0, floor=level * np.array([0.3, 0.28, 0.24]))


def _pose(rng: np.random.Generator, outdoors: Outdoors, kind: str) -> Pose:
    floor = outdoors.floor
    for _ in range(60):
        height = float(rng.choice([rng.uniform(1.3, 1.8), rng.uniform(0.5, 1.3), rng.uniform(1.8, 3.2)], p=[0.65, 0.2, 0.15]))
        x = rng.uniform(-0.5, 0.5) * outdoors.walk[0]
        z = rng.uniform(*outdoors.walk[1])
        if floor.free(Footprint(x, z, 0.35, 0.35, 0.0, height - 0.4, height + 0.3)):
            break
    if kind == "street":
        yaw = rng.normal(0, 0.45)
    else:
        middle = np.array([0, floor.depth / 2]) + rng.normal(0, 2, 2) - (x, z)
        yaw = float(np.arctan2(middle[0], middle[1]))
    pitch = rng.normal(-0.02, 0.08)
    return Pose(rotation_ypr(yaw, pitch, rng.normal(0, 0.025)), np.array([x, -height, z]))


def check_sources(spec: WorldSpec) -> None:
    """Raises DatasetError where assets are missing, or embreex is."""
    open_assets(spec)


def load_world(spec: WorldSpec) -> Streets:
    """Raises DatasetError where assets are missing, or embreex is."""
    return Streets(open_assets(spec))
