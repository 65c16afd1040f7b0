"""The furniture catalogues of Sweet Home 3D: what a model is, how large it is, who made it, and where its files are."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.held_out import held_out

CATALOGUE = "PluginFurnitureCatalog.properties"
MODELS = Path("usr/share/sweethome3d/furniture")  # where Debian's package has them
LICENCES: Mapping[str, str] = {  # as a catalogue calls it → its short name
    "Public domain": "CC0 1.0",
    "Creative Commons Attribution 3.0 license": "CC BY 3.0",
    "Creative Commons Attribution 3.0 Unported license": "CC BY 3.0",
    "Creative Commons Attribution 3.0 United States license": "CC BY 3.0 US",
}


@dataclass(frozen=True, slots=True)
class Model:
    """One entry. archive, member: its OBJ file; size: width, height, depth m; rotation: [3, 3], of the file's axes, before scaling;
    checksum: of its files, size and rotation, by which what is kept of it is known; licence: of ``LICENCES``; copyright: the
    catalogue's notice, or nothing; family: the same for models that share a file, say a texture."""

    key: str
    name: str
    category: str
    archive: Path
    member: str
    size: tuple[float, float, float]
    elevation: float  # m above the floor where it belongs: a wall lamp's, a window's
    rotation: np.ndarray
    checksum: int
    creator: str
    licence: str
    copyright: str
    family: str


def read_catalogues(folder: Path) -> list[Model]:
    """Every model of the ``.sh3f`` files of a folder, in a stable order.

    Raises DatasetError if there is none, or if a file is no catalogue.
    """
    archives = sorted(folder.glob("*.sh3f"))
    if not archives:
        raise DatasetError(f"no .sh3f catalogue in {folder}: unpack Debian's sweethome3d-furniture there (docs/training-data.md)")
    family: dict[int, str] = {}  # checksum of a file → the family that has it
    return [model for archive in archives for model in _read(archive, family)]


def part(models: Iterable[Model], validation: bool) -> list[Model]:
    """The models of the validation, or those of the training: no family is in both."""
    return [model for model in models if held_out(model.family) == validation]


def _read(archive: Path, family: dict[int, str]) -> list[Model]:
    try:
        with zipfile.ZipFile(archive) as file:
            text = file.read(CATALOGUE).decode("latin-1")
            present = {info.filename: info for info in file.infolist()}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{archive} is no furniture catalogue ({error}): unpack the package again") from None
    values: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            field, _, number = key.strip().partition("#")
            values.setdefault(number, {})[field] = value.strip()
    licence = _licence(archive, values.get("", {}).get("license", ""))
    models = []
    for number in sorted((n for n in values if n.isdecimal()), key=int):
        try:
            if values[number]["model"].lstrip("/") in present:
                models.append(_model(archive, values[number], licence, present, family))
        except (KeyError, ValueError) as error:  # a field that is missing, or no number
            raise DatasetError(f"{archive} is damaged (model {number}: {error}): unpack the package again") from None
    return models


def _licence(archive: Path, text: str) -> tuple[str, str]:
    """Its short name and the copyright notice, which follows it in a catalogue."""
    name, *notice = re.split(r"\s*(?=(?:Copyright\s*)?©)", text, maxsplit=1)
    if name not in LICENCES:
        known = ", ".join(LICENCES)
        raise DatasetError(f"{archive} is under an unknown licence {name!r}: leave this catalogue out (known: {known})")
    return LICENCES[name], "".join(notice)


def _files(member: str, present: dict[str, zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Of the folder of a model."""
    folder = member.rpartition("/")[0] + "/"
    return [info for name, info in present.items() if name.startswith(folder) and not name.endswith("/")]


def _family(member: str, files: list[zipfile.ZipInfo], family: dict[int, str]) -> str:
    """The family of the first model that had any file of this one's folder; a new one where there is none."""
    sums = [info.CRC for info in files if not info.filename.endswith((".txt", ".mtl"))]
    name = next((family[crc] for crc in sums if crc in family), member.rpartition("/")[2].partition(".")[0])
    family.update(dict.fromkeys(sums, name))
    return name


def _model(
    archive: Path,
    entry: dict[str, str],
    licence: tuple[str, str],
    present: dict[str, zipfile.ZipInfo],
    family: dict[int, str],
) -> Model:
    """Raises KeyError or ValueError for an entry that lacks something."""
    member = entry["model"].lstrip("/")
    files = _files(member, present)
    rotation = np.array([float(v) for v in entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()]).reshape(3, 3)
    size = float(entry["width"]) / 100, float(entry["height"]) / 100, float(entry["depth"]) / 100
    contents = sorted((info.filename, info.CRC, info.file_size) for info in files)
    return Model(
        key=f"{archive.stem}/{member}",
        name=entry["name"],
        category=entry["category"],
        archive=archive,
        member=member,
        size=size,
        elevation=float(entry.get("elevation", 0)) / 100,
        rotation=rotation,
        checksum=zlib.crc32(repr((contents, size, rotation.tolist())).encode()),
        creator=entry.get("creator", "unknown"),
        licence=licence[0],
        copyright=licence[1],
        family=_family(member, files, family),
    )
