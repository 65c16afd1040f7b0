"""The world of furnished rooms."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.training.scenes.meshes.assets import Assets, open_assets
from depth_retrofit_ros.training.scenes.meshes.furnishing import Furnisher
from depth_retrofit_ros.training.scenes.meshes.inventory import KINDS
from depth_retrofit_ros.training.scenes.meshes.outdoors import behind_windows
from depth_retrofit_ros.training.scenes.meshes.palette import Palette
from depth_retrofit_ros.training.scenes.meshes.placing import Floor, Footprint
from depth_retrofit_ros.training.scenes.meshes.shell import build_shell, dress_window, fit_openings, four_walls
from depth_retrofit_ros.training.scenes.meshes.sky import random_sky
from depth_retrofit_ros.training.scenes.meshes.soup import SoupBuilder
from depth_retrofit_ros.training.scenes.meshes.view import Ambient, MeshView, expose_at_random, most_interesting
from depth_retrofit_ros.training.scenes.scene import Pose, rotation_ypr
from depth_retrofit_ros.training.scenes.world import WorldSpec

POSES = 6  # at most, of which the one that shows most things is taken
SHARES = {"living": 0.26, "dining": 0.16, "bedroom": 0.16, "office": 0.14, "kitchen": 0.12, "bath": 0.06, "store": 0.10}


class Rooms:
    """World of world.py."""

    def __init__(self, assets: Assets) -> None:
        self.assets = assets

    def view(self, rng: np.random.Generator, camera: Camera) -> MeshView:
        """A room, seen from where a person might stand or sit in it."""
        while True:
            room = Room(rng, self.assets)
            poses = [room.pose() for _ in range(POSES)]
            view = MeshView("furnished", room.soup, poses[0], room.sky, room.ambient)
            if most_interesting(view, camera, poses[: rng.integers(2, POSES + 1)]):
                expose_at_random(view, rng, camera)
                return view


class Room:
    """One room with its light."""

    def __init__(self, rng: np.random.Generator, assets: Assets) -> None:
        self.rng = rng
        kind = str(rng.choice(list(KINDS), p=[SHARES[kind] for kind in KINDS]))
        small = kind in ("bath", "kitchen", "store")
        low, high = ((2.2, 2.6), (3.6, 4.6)) if small else ((3.0, 3.6), (6.5, 8.5))
        width, depth = (float(v) for v in rng.uniform(low, high))
        self.height = float(rng.uniform(2.35, 3.1))
        builder = SoupBuilder()
        palette = Palette(rng, assets.textures, builder)
        self.floor = Floor(width, depth)
        walls = four_walls(width, depth, self.height)
        windows = fit_openings(palette, assets.models, walls, self.floor, int(rng.integers(1, 5)), int(rng.integers(1, 3)))
        furnisher = Furnisher(palette, assets.models, walls, self.floor, self.height)
        lamps = furnisher.lamps()
        furnisher.furnish(kind)
        build_shell(palette, walls, width, depth, self.height)
        for wall, hole in windows:
            dress_window(palette, wall, hole)
        night = rng.random() < 0.15 or not windows
        self.sky = random_sky(rng, night)
        behind_windows(palette, assets.models, width, depth)
        self.ambient = self._light(builder, windows, lamps, night)
        self.soup = builder.build()

    def _light(self, builder: SoupBuilder, windows: list, lamps: list[np.ndarray], night: bool) -> Ambient:  # type: ignore[type-arg]
        """Daylight through the windows, lamps, and what the walls send back."""
        rng, sky = self.rng, self.sky
        day = (sky.zenith + sky.horizon) / 2
        if not night:
            for wall, hole in windows[:3]:
                along, up = (hole.stop - hole.start) / 2 * wall.along, (hole.top - hole.bottom) / 2 * np.array([0, -1.0, 0])
                center = wall.point((hole.start + hole.stop) / 2, (hole.bottom + hole.top) / 2, -0.2)
                builder.portal(center, along, up, day * 2.0)
            if sky.sun.any():
                builder.sun(sky.to_sun, 0.006, sky.sun)
        warm = np.array([1.0, rng.uniform(0.72, 0.95), rng.uniform(0.45, 0.85)])
        on = night or rng.random() < 0.4
        places = lamps or [np.array([0.0, -self.height + 0.15, self.floor.depth / 2])]
        for at in places[:3] if on else ():
            builder.sphere_light(at, rng.uniform(0.06, 0.2), warm * rng.uniform(1.0, 3.0) / len(places[:3]))
        level = 0.045 * day * len(windows) * (not night) + (0.12 * warm if on else 0.02)
        builder.sphere_light(
            np.array([0, -self.height / 2, self.floor.depth / 2]), 0.8, level * 0.5
        )  # keeps shapes round in the shade
        inside = np.array([[-self.floor.width / 2, -self.height, 0], [self.floor.width / 2, 0.0, self.floor.depth]])
        inside += np.array([[-0.3], [0.3]])  # with the openings of its walls
        color = level * 1.3
        floor = level * np.array([0.75, 0.68, 0.6])
        return Ambient(color, near=0.35, reach=1.2, floor=floor, inside=inside, outside=day * 0.8 / np.maximum(color, 1e-4))

    def pose(self) -> Pose:
        """Where nothing stands, across the room, mostly level."""
        rng, floor = self.rng, self.floor
        for _ in range(60):
            height = float(rng.choice([rng.uniform(1.2, 1.75), rng.uniform(0.35, 1.2)], p=[0.7, 0.3]))
            x = rng.uniform(-1, 1) * (floor.width / 2 - 0.25)
            z = rng.uniform(0.25, floor.depth - 0.25)
            if floor.free(Footprint(x, z, 0.2, 0.2, 0.0, height - 0.3, height + 0.2)):
                break
        target = np.array([rng.normal(0, 0.2) * floor.width, floor.depth * (0.5 + rng.normal(0, 0.2))])
        away = target - (x, z)
        if np.hypot(*away) < 1.0:
            away = rng.normal(size=2)
        yaw = float(np.arctan2(away[0], away[1]))
        return Pose(rotation_ypr(yaw, rng.normal(-0.1, 0.13), rng.normal(0, 0.025)), np.array([x, -height, z]))


def check_sources(spec: WorldSpec) -> None:
    """Raises DatasetError where assets are missing, or embreex is."""
    open_assets(spec)


def load_world(spec: WorldSpec) -> Rooms:
    """Raises DatasetError where assets are missing, or embreex is."""
    return Rooms(open_assets(spec))
