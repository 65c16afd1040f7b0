"""Photographs and photographic textures as RGB images, from a folder of photos and from an unpacked package of textures."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depth_retrofit_ros.errors import DatasetError, ImageError
from depth_retrofit_ros.training.scenes.held_out import held_out
from depth_retrofit_ros.training.scenes.world import WorldSpec

PACK = Path("usr/share/games/ufoai/base/0textures.pk3")  # of the package ufoai-textures, in the folder of assets
SHORTEST_PX, LONGEST_PX = 128, 2048  # sides of an image: smaller ones are not used, larger ones are reduced
IMAGES = (".png", ".jpg", ".jpeg")
_NO_COLORS = re.compile(r"_(nm|sm|gm|rm|g|glow|a[1-9]\d*)$")  # normal, gloss and glow maps, and an animation's later frames
_NO_SURFACES = ("tex_common", "tex_lights", "tex_terrain", "tex_alienb", "tex_anim")
_SHAPES = re.compile(r"leaves|tree|fence|grate|bars?\d|jailbars|grid|ladder|wires|vent")


@dataclass(frozen=True, slots=True)
class Source:
    """One image. name: tells it apart; read: its encoded bytes."""

    name: str
    read: Callable[[], bytes]

    def rgb(self) -> np.ndarray | None:
        """uint8 [h, w, 3]; None where it is no image or too small."""
        image = cv2.imdecode(np.frombuffer(self.read(), np.uint8), cv2.IMREAD_COLOR)
        if image is None or min(image.shape[:2]) < SHORTEST_PX:
            return None
        return np.ascontiguousarray(_reduced(image)[..., ::-1])

    def shape(self) -> np.ndarray | None:
        """Alpha as float32 [h, w] in 0…1; None where it has none that cuts something out."""
        image = cv2.imdecode(np.frombuffer(self.read(), np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4 or min(image.shape[:2]) < SHORTEST_PX // 2:
            return None
        alpha = image[..., 3].astype(np.float32) / 255
        return alpha if 0.05 < (alpha > 0.5).mean() < 0.9 else None


@dataclass(frozen=True, slots=True)
class PhotoLibrary:
    """Where images may be taken from; of the textures either training's or validation's part."""

    photos: tuple[Source, ...]
    textures: tuple[Source, ...]
    shapes: tuple[Source, ...]

    def images(self, rng: np.random.Generator, photos: int, textures: int) -> list[np.ndarray]:
        """So many of both kinds, or as many as there are, each once; in memory: at most 12 MB each."""
        chosen: list[np.ndarray] = []
        for sources, count in ((self.photos, photos), (self.textures, textures)):
            wanted = len(chosen) + count
            for i in rng.permutation(len(sources)):
                if len(chosen) == wanted:
                    break
                image = sources[i].rgb()
                if image is not None:
                    chosen.append(image)
        return chosen


def open_library(spec: WorldSpec) -> PhotoLibrary:
    """Raises ImageError for a folder of photos without any, DatasetError for assets without the textures."""
    photos: list[Source] = []
    if spec.photos is not None:
        files = sorted(p for p in spec.photos.rglob("*") if p.suffix.lower() in IMAGES)
        if not files:
            raise ImageError(f"no images in {spec.photos}: give a folder of photographs, or none for procedural textures only")
        photos = [Source(path.name, path.read_bytes) for path in files]
    textures: list[Source] = []
    shapes: list[Source] = []
    if spec.assets is not None:
        pack = spec.assets / PACK
        try:
            names = zipfile.ZipFile(pack).namelist()
        except (OSError, zipfile.BadZipFile):
            raise DatasetError(f"no textures at {pack}: unpack the package ufoai-textures into {spec.assets}") from None
        for name in sorted(names):
            path = Path(name)
            if path.suffix not in IMAGES or _NO_COLORS.search(path.stem) or held_out(path.stem) != spec.held_out:
                continue
            source = Source(name, _reader(pack, name))
            if path.suffix == ".png" and _SHAPES.search(path.stem):
                shapes.append(source)
            elif path.parent.name not in _NO_SURFACES:
                textures.append(source)
    return PhotoLibrary(tuple(photos), tuple(textures), tuple(shapes))


def _reader(pack: Path, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        return _opened(pack, os.getpid()).read(name)

    return read


@lru_cache(maxsize=2)
def _opened(pack: Path, process: int) -> zipfile.ZipFile:
    """Its list of contents takes long to read; an open file must not be shared with another process."""
    return zipfile.ZipFile(pack)


def _reduced(image: np.ndarray) -> np.ndarray:
    scale = LONGEST_PX / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
