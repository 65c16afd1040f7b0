"""Models and textures at hand: parsed once into a cache folder, of real size, in the axes of the world."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from depth_retrofit_ros.errors import DatasetError, OutputError
from depth_retrofit_ros.training.scenes.held_out import held_out
from depth_retrofit_ros.training.scenes.meshes.catalogue import MODELS, Model, part, read_catalogues
from depth_retrofit_ros.training.scenes.meshes.obj import Mesh, Surface, decode_texture, read_obj
from depth_retrofit_ros.training.scenes.meshes.recent import Recent

FORMAT = 2  # of the cached meshes; part of their names
MEMORY = 400 << 20  # bytes of meshes that one process keeps
TEXTURE_MEMORY = 256 << 20  # and of textures
TEXTURES = Path("usr/share/games/ufoai/base/0textures.pk3")  # where Debian's package has them


class ModelLibrary:
    """The models of one part, training or validation. assets: folder that Debian's packages were unpacked to; cache: for meshes."""

    def __init__(self, assets: Path, cache: Path, validation: bool) -> None:
        self.models = part(read_catalogues(assets / MODELS), validation)
        self.cache = cache
        self._meshes = Recent(MEMORY, _size)
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the mesh cache {cache} ({error.strerror}): choose a writable place") from None

    def matching(self, pattern: str, category: str = "", low: Sequence[float] = (), high: Sequence[float] = ()) -> list[Model]:
        """Models whose whole name fits the pattern, of a category if one is given, within low and high (width, height, depth) m."""
        found = []
        for model in self.models:
            fits = re.fullmatch(pattern, model.name) and category in ("", model.category)
            if (
                fits
                and all(s >= v for s, v in zip(model.size, low, strict=False))
                and all(s <= v for s, v in zip(model.size, high, strict=False))
            ):
                found.append(model)
        return found

    def mesh(self, model: Model) -> Mesh:
        """The model in metres, x right, y down, z from its front (−) to its back (+); centred on x and z, y = 0 at its foot."""
        return self._meshes.get(model.key, lambda: self._cached(model))

    def _cached(self, model: Model) -> Mesh:
        """From the cache; parsed and stored where it is not there, damaged, or of other files."""
        path = self.cache / f"{zlib.crc32(model.key.encode()):08x}{model.checksum:08x}_v{FORMAT}.npz"
        mesh = _load(path)
        if mesh is None:
            mesh = _to_size(_parse(model), model)
            _save(path, mesh)
            mesh = replace(mesh, normals=_stored(mesh.normals).astype(np.float32))  # as the next process will have it
        return mesh


class TextureLibrary:
    """Photographic textures of one part, by the pattern of their names; those decoded last are kept."""

    def __init__(self, assets: Path, validation: bool) -> None:
        path = assets / TEXTURES
        try:
            self._file = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{path} cannot be read ({error}): unpack Debian's ufoai-textures (docs/training-data.md)") from None
        self._pid = os.getpid()
        self._path = path
        names = (name.removeprefix("textures/") for name in self._file.namelist() if name.endswith((".png", ".jpg")))
        self.names = sorted(name for name in names if held_out(PurePosixPath(name).stem) == validation)
        self._decoded = Recent[np.ndarray](TEXTURE_MEMORY, lambda image: image.nbytes)

    def matching(self, pattern: str) -> list[str]:
        """Names (folder/file without its ending) that fit wholly."""
        return [name for name in self.names if re.fullmatch(pattern, name.rpartition(".")[0])]

    def image(self, name: str) -> np.ndarray:
        """RGBA uint8 [h, w, 4], sides powers of two."""
        return self._decoded.get(name, lambda: self._decode(name))

    def _decode(self, name: str) -> np.ndarray:
        if self._pid != os.getpid():  # a forked worker must not share the file's position with its parent
            self._file, self._pid = zipfile.ZipFile(self._path), os.getpid()
        return decode_texture(self._file.read(f"textures/{name}"))


def _parse(model: Model) -> Mesh:
    folder = PurePosixPath(model.member).parent
    try:
        with zipfile.ZipFile(model.archive) as file:
            lower = {name.lower(): name for name in file.namelist()}

            def beside(name: str) -> bytes | None:
                found = lower.get(str(folder / name.replace("\\", "/")).lower())
                return file.read(found) if found else None

            return read_obj(file.read(model.member), beside, model.key)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{model.key} cannot be read from {model.archive} ({error}): unpack the package again") from None


def _to_size(mesh: Mesh, model: Model) -> Mesh:
    """Scale each axis to the catalogue's size, and turn from y up, z to the front, to y down, z to the back."""
    points = mesh.points @ model.rotation.T
    normals = mesh.normals @ model.rotation.T
    low, high = points.reshape(-1, 3).min(0), points.reshape(-1, 3).max(0)
    scale = np.array(model.size) / np.maximum(high - low, 1e-6)
    scale = np.where(high - low > 1e-6, scale, 1.0)
    turn = np.array([1.0, -1.0, -1.0])
    origin = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    normals = normals / scale * turn
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    placed = ((points - origin) * scale * turn).astype(np.float32)
    return Mesh(placed, normals.astype(np.float32), mesh.uv, mesh.surface, mesh.surfaces, mesh.textures)


def _stored(normals: np.ndarray) -> np.ndarray:
    return normals.astype(np.float16)


def _save(path: Path, mesh: Mesh) -> None:
    table = np.array([[*s.color, s.shine, s.opacity, s.texture] for s in mesh.surfaces], np.float64)
    arrays = {f"texture{i}": texture for i, texture in enumerate(mesh.textures)}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(
                file, points=mesh.points, normals=_stored(mesh.normals), uv=mesh.uv,
                surface=mesh.surface, surfaces=table, **arrays,  # type: ignore[arg-type]  # none is its allow_pickle
            )  # fmt: skip
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): make room or choose another cache folder") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _load(path: Path) -> Mesh | None:
    """None where it is missing or damaged."""
    try:
        with np.load(path) as file:
            rows = file["surfaces"]
            surfaces = [Surface((float(r[0]), float(r[1]), float(r[2])), float(r[3]), float(r[4]), int(r[5])) for r in rows]
            textures = [file[f"texture{i}"] for i in range(sum(name.startswith("texture") for name in file.files))]
            return Mesh(file["points"], file["normals"].astype(np.float32), file["uv"], file["surface"], surfaces, textures)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _size(mesh: Mesh) -> int:
    return sum(a.nbytes for a in (mesh.points, mesh.normals, mesh.uv, mesh.surface, *mesh.textures))
