"""Models and textures at hand: parsed once into a cache folder, of real size, in the axes of the world."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from depth_retrofit_ros.errors import DatasetError, OutputError
from depth_retrofit_ros.training.scenes.held_out import held_out
from depth_retrofit_ros.training.scenes.meshes.catalogue import MODELS, Model, part, read_catalogues
from depth_retrofit_ros.training.scenes.meshes.obj import Mesh, Surface, decode_texture, read_obj

FORMAT = 2  # of the cached meshes; part of their names
MEMORY = 400 << 20  # bytes of meshes that one process keeps
TEXTURES = Path("usr/share/games/ufoai/base/0textures.pk3")  # where Debian's package has them


class ModelLibrary:
    """The models of one part, training or validation. assets: folder that Debian's packages were unpacked to; cache: for meshes."""

    def __init__(self, assets: Path, cache: Path, validation: bool) -> None:
        self.models = part(read_catalogues(assets / MODELS), validation)
        self.cache = cache
        self._meshes: OrderedDict[str, Mesh] = OrderedDict()
        self._bytes = 0
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
        if model.key in self._meshes:
            self._meshes.move_to_end(model.key)
            return self._meshes[model.key]
        path = self.cache / f"{zlib.crc32(model.key.encode()):08x}_v{FORMAT}.npz"
        mesh = _load(path) if path.exists() else None
        if mesh is None:
            _save(path, _to_size(_parse(model), model))
            mesh = _load(path)  # as the next process will have it
        self._meshes[model.key] = mesh
        self._bytes += _size(mesh)
        while self._bytes > MEMORY and len(self._meshes) > 1:
            self._bytes -= _size(self._meshes.popitem(last=False)[1])
        return mesh


class TextureLibrary:
    """Photographic textures of one part, by the pattern of their names; decoded ones are kept."""

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
        self._decoded: dict[str, np.ndarray] = {}

    def matching(self, pattern: str) -> list[str]:
        """Names (folder/file without its ending) that fit wholly."""
        return [name for name in self.names if re.fullmatch(pattern, name.rpartition(".")[0])]

    def image(self, name: str) -> np.ndarray:
        """RGBA uint8 [h, w, 4], sides powers of two."""
        if name not in self._decoded:
            if self._pid != os.getpid():  # a forked worker must not share the file's position with its parent
                self._file, self._pid = zipfile.ZipFile(self._path), os.getpid()
            self._decoded[name] = decode_texture(self._file.read(f"textures/{name}"))
        return self._decoded[name]


def _parse(model: Model) -> Mesh:
    folder = PurePosixPath(model.member).parent
    with zipfile.ZipFile(model.archive) as file:
        lower = {name.lower(): name for name in file.namelist()}

        def beside(name: str) -> bytes | None:
            found = lower.get(str(folder / name.replace("\\", "/")).lower())
            return file.read(found) if found else None

        return read_obj(file.read(model.member), beside, model.key)


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


def _save(path: Path, mesh: Mesh) -> None:
    table = np.array([[*s.color, s.shine, s.opacity, s.texture] for s in mesh.surfaces], np.float64)
    arrays = {f"texture{i}": texture for i, texture in enumerate(mesh.textures)}
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez(
                file, points=mesh.points, normals=mesh.normals.astype(np.float16), uv=mesh.uv,
                surface=mesh.surface, surfaces=table, **arrays,  # type: ignore[arg-type]  # none is its allow_pickle
            )  # fmt: skip
        os.replace(file.name, path)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): make room or choose another cache folder") from None


def _load(path: Path) -> Mesh:
    with np.load(path) as file:
        surfaces = [Surface((float(r[0]), float(r[1]), float(r[2])), float(r[3]), float(r[4]), int(r[5])) for r in file["surfaces"]]
        textures = [file[f"texture{i}"] for i in range(sum(name.startswith("texture") for name in file.files))]
        return Mesh(file["points"], file["normals"].astype(np.float32), file["uv"], file["surface"], surfaces, textures)


def _size(mesh: Mesh) -> int:
    return sum(a.nbytes for a in (mesh.points, mesh.normals, mesh.uv, mesh.surface, *mesh.textures))
