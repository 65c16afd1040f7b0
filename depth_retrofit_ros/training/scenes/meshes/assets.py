"""What the worlds of models are made from, opened once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary, TextureLibrary
from depth_retrofit_ros.training.scenes.meshes.tracer import missing_embreex
from depth_retrofit_ros.training.scenes.world import WorldSpec


@dataclass(frozen=True, slots=True)
class Assets:
    """Models and textures of one part, training or validation."""

    models: ModelLibrary
    textures: TextureLibrary


def open_assets(spec: WorldSpec) -> Assets:
    """Open the folder that Debian's packages were unpacked to.

    Parsed models are kept in ``DEPTH_RETROFIT_CACHE``, else in the user's cache folder. Raises DatasetError.
    """
    if find_spec("embreex") is None:
        raise missing_embreex("not installed")
    if spec.assets is None:
        raise DatasetError("rooms and streets are made of models: give the folder of the assets (docs/training-data.md)")
    return Assets(ModelLibrary(spec.assets, cache_folder(), spec.held_out), TextureLibrary(spec.assets, spec.held_out))


def cache_folder() -> Path:
    """Where parsed models are kept."""
    own = os.environ.get("DEPTH_RETROFIT_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_retrofit_ros"
    return base / "meshes"
