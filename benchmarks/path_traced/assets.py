"""Furniture and textures of two archives, the eighth of them that is for validation only."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.held_out import held_out

CATALOG = "PluginFurnitureCatalog.properties"
GROUNDS = r"grass|sand_|dirt|asphalt|ground|street001|rock|floor_gray"
FLOORS = r"floor|tiles_|carpet|wood0|woodceil"
WALLS = r"wall0|wall_|bricks|stucco|wallpaper|plaster|concrete0|streetbricks"
PICTURES = r"art|landsc|advert|science"


@dataclass(frozen=True, slots=True)
class Model:
    """height, elevation: of the thing and of its foot above the floor, m."""

    archive: Path
    member: str
    height: float
    elevation: float


def read_catalog(folder: Path) -> dict[str, Model]:
    """The models of all ``*.sh3f`` archives (Sweet Home 3D furniture libraries) in a folder that are for validation only, by stem.

    One that shares a file, such as a texture, with a model of the training is not, nor one that shares with such a one.
    Raises DatasetError.
    """
    models: dict[str, Model] = {}
    sums: list[tuple[str, frozenset[int]]] = []  # stem, and checksums of the files in its folder
    for archive in sorted(folder.glob("*.sh3f")):
        try:
            with zipfile.ZipFile(archive) as files:
                text, present = files.read(CATALOG).decode("latin-1"), files.infolist()
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise DatasetError(
                f"cannot read {archive} ({error}): give --furniture the libraries of sweethome3d-furniture"
            ) from None
        entries: dict[str, dict[str, str]] = {}
        for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*)$", text, re.MULTILINE):
            entries.setdefault(number, {})[key] = value.strip()
        for entry in entries.values():
            member = entry["model"].lstrip("/")
            stem, parent = PurePosixPath(member).stem, f"{PurePosixPath(member).parent}/"
            beside = [i for i in present if i.filename.startswith(parent) and not i.filename.endswith(("/", ".txt", ".mtl"))]
            sums.append((stem, frozenset(info.CRC for info in beside)))
            models[stem] = Model(archive, member, float(entry["height"]) / 100, float(entry.get("elevation", 0)) / 100)
    training = {stem for stem, _ in sums if not held_out(stem)}
    before = -1
    while before != len(training):
        before = len(training)
        seen = {crc for stem, crcs in sums if stem in training for crc in crcs}
        training |= {stem for stem, crcs in sums if crcs & seen}
    models = {stem: model for stem, model in models.items() if stem not in training}
    if not models:
        raise DatasetError(f"{folder} has no held-out model in *.sh3f: give --furniture the libraries of sweethome3d-furniture")
    return models


def read_textures(archive: Path) -> list[str]:
    """The held-out pictures in a ``.pk3``, by path, without normal, specular, glow and roughness maps. Raises DatasetError."""
    try:
        with zipfile.ZipFile(archive) as files:
            paths = [PurePosixPath(name) for name in sorted(files.namelist())]
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"cannot read {archive} ({error}): give --textures the 0textures.pk3 of ufoai-textures") from None
    chosen = [p for p in paths if p.suffix in (".jpg", ".png") and not re.search(r"_(nm|sm|gm|rm)$", p.stem) and held_out(p.stem)]
    return [str(path) for path in chosen]
