"""What a pool is rendered from: a world draws scenes, a view renders any window of one from one pose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.render import Rendering

MIN_DEPTH_M = 0.2
CHECK_SIDE = 96  # long side of the small image by which a view is judged


class View(Protocol):
    """A scene seen from one pose, exposed. kind: what sort of scene it is, one word."""

    kind: str

    def render(self, camera: Camera, window: tuple[int, int, int, int] | None = None) -> Rendering:
        """window: (x0, y0, width, height) in the camera's pixels, inside its image; None for the whole. Depth at pixel centres."""
        ...


class World(Protocol):
    """Draws scenes; deterministic in the generator."""

    def view(self, rng: np.random.Generator, camera: Camera) -> View:
        """A view that is ``usable``. camera: of the full frame; the view must be rendered with it or a resized one."""
        ...


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """name: of ``WORLDS``; seed: of procedural textures; photos: folder of photographs or None; assets: folder of unpacked 3-D
    models and textures or None; held_out: validation's part of the assets, of which training never sees anything; device: where to
    render, for worlds that can choose."""

    name: str
    seed: int
    photos: Path | None = None
    assets: Path | None = None
    held_out: bool = False
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class WorldInfo:
    """module: has ``load_world(spec)`` and ``check_sources(spec)``; version: of its samples, part of their names, so that none of
    another version is taken; needs_assets: cannot do without; attribution: for the cards of what was trained with its assets;
    on_device: renders on CUDA too."""

    module: str
    version: int = 1
    needs_assets: bool = False
    attribution: tuple[str, ...] = ()
    on_device: bool = False


_SCENES = "depth_retrofit_ros.training.scenes"
_TEXTURES = (
    "photographic textures of UFO: Alien Invasion (Debian package ufoai-textures, which lists the authors and licences of each: "
    "GPL-2+, GPL-2, GPL-3+, Expat, CC BY 3.0, CC BY-SA 3.0, public domain)"
)
_MODELS = (
    "3-D models of Sweet Home 3D (Debian package sweethome3d-furniture: Scopia, KatorLegaz, Reallusion and BlendSwap contributors, "
    "CC BY 3.0, CC BY 3.0 US and CC0)"
)
WORLDS: Mapping[str, WorldInfo] = {
    "primitives": WorldInfo(f"{_SCENES}.primitives", on_device=True),
    "thin": WorldInfo(f"{_SCENES}.thin.world", version=2, attribution=(_TEXTURES,)),
    "layers": WorldInfo(f"{_SCENES}.layers.world", attribution=(_TEXTURES,)),
    "rooms": WorldInfo(f"{_SCENES}.meshes.rooms", needs_assets=True, attribution=(_MODELS, _TEXTURES)),
    "streets": WorldInfo(f"{_SCENES}.meshes.streets", needs_assets=True, attribution=(_MODELS, _TEXTURES)),
}


def load_world(spec: WorldSpec) -> World:
    """The world of this name. Raises DatasetError for an unknown one, or one whose package or assets are missing."""
    return cast(Callable[[WorldSpec], World], _module(spec).load_world)(spec)


def check_world(spec: WorldSpec) -> None:
    """Raises what ``load_world`` would, in a moment: what it is made of is opened, but not read."""
    cast(Callable[[WorldSpec], None], _module(spec).check_sources)(spec)


def find_world(name: str) -> WorldInfo:
    """Raises DatasetError for an unknown one."""
    if name not in WORLDS:
        raise DatasetError(f"unknown world {name!r}: choose of {', '.join(WORLDS)}")
    return WORLDS[name]


def _module(spec: WorldSpec) -> ModuleType:
    info = find_world(spec.name)
    if spec.assets is not None and not spec.assets.is_dir():
        raise DatasetError(f"no folder {spec.assets}: give the folder of unpacked models and textures")
    if info.needs_assets and spec.assets is None:
        raise DatasetError(f"the world {spec.name} is made of 3-D models: give their folder with --assets")
    try:
        return import_module(info.module)
    except ModuleNotFoundError as error:
        raise DatasetError(f"the world {spec.name} needs the Python package {error.name}: install it") from None


def usable(depth: torch.Tensor | np.ndarray) -> bool:
    """Whether a view ``[h, w]`` m is seen from free space: little of it nearer than 0.2 m, and not only sky."""
    values = torch.as_tensor(depth)
    near, sky = (values < MIN_DEPTH_M).float().mean(), torch.isinf(values).float().mean()
    return bool(near < 0.002 and sky < 0.7)


def check_camera(camera: Camera) -> Camera:
    """The camera of the small image by which a view is judged."""
    return camera.resized(CHECK_SIDE, max(1, round(CHECK_SIDE * camera.height / camera.width)))
