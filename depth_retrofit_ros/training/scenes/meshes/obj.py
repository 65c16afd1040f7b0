"""OBJ and MTL files: triangles with normals, texture coordinates and materials."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from depth_retrofit_ros.errors import DatasetError

LARGEST_TEXTURE = 1024
SMOOTH_BELOW_DEG = 40.0  # where the file has no normals: faces that meet at less are one smooth surface
MOST_AT_VERTEX = 64  # faces of one vertex that are looked at
CLEAR_BELOW = 0.9  # of texels' alpha: below it somewhere, the texture has holes


@dataclass(slots=True)
class Surface:
    """A material. color: RGB 0…1 as displayed; shine: 0…1; opacity: 0…1; texture: index into the mesh's textures, −1 for none."""

    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    shine: float = 0.0
    opacity: float = 1.0
    texture: int = -1


@dataclass(slots=True)
class Mesh:
    """F triangles. points, normals: float32 [F, 3, 3]; uv: float32 [F, 3, 2]; surface: int32 [F], into surfaces;
    textures: uint8 [h, w, 4] each, RGBA."""

    points: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    surface: np.ndarray
    surfaces: list[Surface] = field(default_factory=list)
    textures: list[np.ndarray] = field(default_factory=list)


def read_obj(data: bytes, beside: Callable[[str], bytes | None], name: str) -> Mesh:
    """Parse an OBJ file; ``beside`` gives the bytes of a file that it names (None: there is none), ``name`` is told in errors."""
    vertices: list[list[float]] = []
    normals: list[list[float]] = []
    uvs: list[list[float]] = []
    corners: list[tuple[int, int, int]] = []
    owner: list[int] = []
    library = _Library(beside)
    current = 0
    try:
        for line in data.decode("latin-1").splitlines():
            words = line.split()
            if not words:
                continue
            key = words[0]
            if key == "v":
                vertices.append([float(w) for w in words[1:4]])
            elif key == "vn":
                normals.append([float(w) for w in words[1:4]])
            elif key == "vt":
                uvs.append([float(w) for w in words[1:3]])
            elif key == "f":
                polygon = [_corner(w, len(vertices), len(uvs), len(normals)) for w in words[1:]]
                for i in range(1, len(polygon) - 1):
                    corners += (polygon[0], polygon[i], polygon[i + 1])
                    owner.append(current)
            elif key == "usemtl":
                current = library.index(" ".join(words[1:]))
            elif key == "mtllib":
                library.read(" ".join(words[1:]))
    except (ValueError, IndexError) as error:
        raise DatasetError(f"{name} is no OBJ file ({error}): unpack the package again") from None
    if not corners:
        raise DatasetError(f"{name} has no faces: unpack the package again")
    index = np.array(corners).reshape(-1, 3, 3)
    if (index.max((0, 1)) >= (len(vertices), len(uvs), len(normals))).any() or index[..., 0].min() < 0:
        raise DatasetError(f"{name} is no OBJ file (a face of vertices that it lacks): unpack the package again")
    points = np.array(vertices, np.float32)[index[..., 0]]
    uv = np.array(uvs or [[0.0, 0.0]], np.float32)[np.maximum(index[..., 1], 0)] * (index[..., 1:2] >= 0)
    flat = _face_normals(points)
    if normals:
        smooth = np.array(normals, np.float32)[np.maximum(index[..., 2], 0)]
        smooth = np.where((index[..., 2:] >= 0) & (np.abs(smooth).sum(-1, keepdims=True) > 0), smooth, flat[:, None])
    else:
        smooth = _smoothed(index[..., 0], flat)
    smooth = smooth / np.maximum(np.linalg.norm(smooth, axis=-1, keepdims=True), 1e-12)
    return Mesh(
        points, smooth.astype(np.float32), uv.astype(np.float32), np.array(owner, np.int32), library.surfaces, library.textures
    )


def _corner(word: str, vertices: int, uvs: int, normals: int) -> tuple[int, int, int]:
    """Indices (vertex, uv, normal) from 0 on; −1 where there is none."""
    parts = word.split("/")
    found = [-1, -1, -1]
    for k, (text, count) in enumerate(zip(parts, (vertices, uvs, normals), strict=False)):
        if text:
            value = int(text)
            found[k] = value - 1 if value > 0 else count + value
    return found[0], found[1], found[2]


def _face_normals(points: np.ndarray) -> np.ndarray:
    """Of triangles [F, 3, 3], as long as twice their area: [F, 3]."""
    return np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])


def _smoothed(vertex: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Normals at the corners [F, 3, 3]: of the faces at the same vertex [F, 3] that are nearly in the corner's own plane."""
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    order = np.argsort(vertex.ravel(), kind="stable")
    face = order // 3
    first = np.searchsorted(vertex.ravel()[order], vertex.ravel()[order])
    count = np.searchsorted(vertex.ravel()[order], vertex.ravel()[order], "right") - first
    total = flat[face].astype(np.float64)
    place = np.arange(len(order)) - first
    for k in range(1, min(int(count.max()), MOST_AT_VERTEX)):
        other = face[first + (place + k) % count]
        close = (unit[face] * unit[other]).sum(1) > np.cos(np.radians(SMOOTH_BELOW_DEG))
        total += flat[other] * (close & (k < count))[:, None]
    smooth = np.empty_like(total)
    smooth[order] = total
    return smooth.reshape(-1, 3, 3)


class _Library:
    """The materials of a file's MTL libraries, in the order of first use."""

    def __init__(self, beside: Callable[[str], bytes | None]) -> None:
        self.beside = beside
        self.surfaces: list[Surface] = []
        self.textures: list[np.ndarray] = []
        self._defined: dict[str, dict[str, list[str]]] = {}
        self._used: dict[str, int] = {}
        self._loaded: dict[tuple[str, str], int] = {}

    def read(self, name: str) -> None:
        """Take the definitions of a library; a missing one leaves all materials grey, as in the viewers of the format."""
        current: dict[str, list[str]] = {}
        for line in (self.beside(name) or b"").decode("latin-1").splitlines():
            words = line.split()
            if words and words[0] == "newmtl":
                current = self._defined.setdefault(" ".join(words[1:]), {})
            elif words:
                current[words[0]] = words[1:]

    def index(self, name: str) -> int:
        """Number of a material."""
        if name not in self._used:
            self._used[name] = len(self.surfaces)
            self.surfaces.append(self._surface(self._defined.get(name, {})))
        return self._used[name]

    def _surface(self, entry: dict[str, list[str]]) -> Surface:
        color = tuple(float(v) for v in entry.get("Kd", ["0.8"] * 3)[:3])
        specular = float(np.mean([float(v) for v in entry.get("Ks", ["0"] * 3)[:3]]))
        power = float(entry.get("Ns", ["0"])[0])
        surface = Surface(
            color=(color[0], color[1], color[2]) if len(color) == 3 else (color[0],) * 3,
            shine=min(1.0, specular * min(1.0, power / 128)),
            opacity=float(entry.get("d", ["1"])[0]) if "Tr" not in entry or "d" in entry else 1 - float(entry["Tr"][0]),
        )
        image = entry.get("map_Kd", [""])[-1]
        if image:
            surface.texture = self._texture(image, entry.get("map_d", [""])[-1])
        return surface

    def _texture(self, image: str, mask: str) -> int:
        key = (image, mask)
        if key not in self._loaded:
            pixels = self._pixels(image)
            if pixels is None:
                return -1
            if mask and mask != image and (holes := self._pixels(mask)) is not None:
                alpha = Image.fromarray(holes).convert("L").resize(pixels.shape[1::-1])
                pixels[..., 3] = np.asarray(alpha)
            self._loaded[key] = len(self.textures)
            self.textures.append(pixels)
        return self._loaded[key]

    def _pixels(self, name: str) -> np.ndarray | None:
        data = self.beside(name)
        return decode_texture(data) if data else None


def decode_texture(data: bytes) -> np.ndarray:
    """RGBA uint8 of an image file, at most LARGEST_TEXTURE on a side, sides rounded to powers of two."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    width, height = (min(LARGEST_TEXTURE, 1 << max(0, round(float(np.log2(side))))) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BOX if width < image.width else Image.Resampling.BICUBIC)
    return np.array(image)


def has_holes(texture: np.ndarray) -> bool:
    """Whether light passes somewhere: texture uint8 [h, w, 4]."""
    return bool((texture[..., 3] < 255 * CLEAR_BELOW).mean() > 0.002)
