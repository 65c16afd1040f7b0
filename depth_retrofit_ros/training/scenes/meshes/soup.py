"""A scene as one triangle soup with materials, textures and lights; world axes: x right, y down, z forward, metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from depth_retrofit_ros.training.scenes.meshes.obj import Mesh, has_holes
from depth_retrofit_ros.training.scenes.scene import rotation_ypr

LINEAR = ((np.arange(256) / 255) ** 2.2).astype(np.float32)  # of 8-bit display values
DARKEST, BRIGHTEST = 0.025, 0.85  # albedo of real surfaces; catalogue colours go beyond
HELPERS = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.577, 0.577, 0.577], [0.577, -0.577, 0.577], [-0.577, 0.577, 0.577]])
SEEN_THROUGH = 0.35  # opacity below which a surface is left out: a window's pane


@dataclass(frozen=True, slots=True)
class Soup:
    """T triangles, M materials, K textures, L lights, as the kernels take them (kernels.py).

    instance: int32 [T], one number per thing; tint: float32 [M, 3] linear; shine, grain: float32 [M]; holes: bool [M];
    glow: float32 [M, 3], light that a surface sends out; lights: kind [L], place, first, second, color [L, 3].
    """

    points: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    surface: np.ndarray
    instance: np.ndarray
    tint: np.ndarray
    texture: np.ndarray
    holes: np.ndarray
    shine: np.ndarray
    grain: np.ndarray
    glow: np.ndarray
    texels: np.ndarray
    table: np.ndarray
    lights: tuple[np.ndarray, ...]


@dataclass(slots=True)
class Textures:
    """The textures of a scene, each once. names: of those that came by name."""

    levels: list[list[np.ndarray]] = field(default_factory=list)
    means: list[np.ndarray] = field(default_factory=list)
    open: list[bool] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, image: np.ndarray) -> int:
        """Number of a texture uint8 [h, w, 4], whose sides are powers of two."""
        if name not in self.numbers:
            self.numbers[name] = len(self.levels)
            levels = mip_levels(image)
            self.levels.append(levels)
            small = next(level for level in levels if max(level.shape[:2]) <= 32)
            solid = small[..., 3] > 127
            mean = LINEAR[small[..., :3]][solid] if solid.any() else LINEAR[small[..., :3]].reshape(-1, 3)
            self.means.append(np.maximum(mean.mean(0), 0.01))
            self.open.append(has_holes(image))
        return self.numbers[name]

    def packed(self) -> tuple[np.ndarray, np.ndarray]:
        """All levels in one buffer, and the table (offset, log2 width, log2 height)."""
        table, parts, offset = [], [np.zeros(4, np.uint8)], 4
        for levels in self.levels:
            height, width = levels[0].shape[:2]
            table.append((offset, width.bit_length() - 1, height.bit_length() - 1))
            parts += [level.reshape(-1) for level in levels]
            offset += sum(level.size for level in levels)
        return np.concatenate(parts), np.array(table, np.int64).reshape(-1, 3)


def mip_levels(image: np.ndarray) -> list[np.ndarray]:
    """A texture uint8 [h, w, 4], sides powers of two, and all its halvings; where alpha is 0 no color is averaged in."""
    levels = [image]
    opaque = bool((image[..., 3] == 255).all())
    while max(levels[-1].shape[:2]) > 1:
        last = levels[-1]
        size = (max(1, last.shape[1] // 2), max(1, last.shape[0] // 2))
        if opaque:
            small = cv2.resize(last, size, interpolation=cv2.INTER_AREA)
        else:
            alpha = last[..., 3:].astype(np.float32) + 0.5
            mixed = cv2.resize(np.concatenate([last[..., :3] * alpha, alpha], -1), size, interpolation=cv2.INTER_AREA)
            mixed = mixed.reshape(size[1], size[0], 4)
            color = mixed[..., :3] / mixed[..., 3:]
            small = np.concatenate([color, mixed[..., 3:]], -1).round().clip(0, 255).astype(np.uint8)
        levels.append(small.reshape(size[1], size[0], 4))
    return levels


@dataclass(frozen=True, slots=True)
class Paint:
    """Look of the scene's own surfaces. material: number; repeat: metres per repeat of its texture."""

    material: int
    repeat: float


class SoupBuilder:
    """Collects triangles, materials and lights."""

    def __init__(self) -> None:
        self.textures = Textures()
        self._points: list[np.ndarray] = []
        self._normals: list[np.ndarray] = []
        self._uv: list[np.ndarray] = []
        self._surface: list[np.ndarray] = []
        self._instance: list[np.ndarray] = []
        self._materials: list[tuple[np.ndarray, int, float, float, np.ndarray]] = []
        self._lights: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self._things = 0
        self.triangles = 0

    def material(
        self, color: Sequence[float] | np.ndarray, texture: int = -1, shine: float = 0.0, grain: float = 0.08, glow: float = 0.0
    ) -> int:
        """Number of a new material. color: linear RGB, the mean of the surface; glow: times its color."""
        tint = np.clip(np.asarray(color, np.float32), DARKEST, BRIGHTEST)
        light = tint * glow
        if texture >= 0:
            tint = tint / self.textures.means[texture]
        self._materials.append((tint, texture, shine, grain, light))
        return len(self._materials) - 1

    def cloth_of(self, paint: Paint) -> int:
        """Number of a paint's texture, −1 for none."""
        return self._materials[paint.material][1]

    def sphere_light(self, at: Sequence[float] | np.ndarray, radius: float, color: np.ndarray) -> None:
        """A lamp; color: intensity, irradiance at a distance of 1 m."""
        self._lights.append((0, np.asarray(at, float), np.array([radius, 0, 0]), np.zeros(3), color))

    def portal(self, center: np.ndarray, first: np.ndarray, second: np.ndarray, color: np.ndarray) -> None:
        """An opening to the sky: half sides first, second; color: radiance."""
        self._lights.append((1, center, first, second, color))

    def sun(self, direction: np.ndarray, radius: float, color: np.ndarray) -> None:
        """direction: unit, to the sun; radius of its disc [rad]; color: irradiance across its rays."""
        self._lights.append((2, direction, np.array([radius, 0, 0]), np.zeros(3), color))

    def thing(self) -> int:
        """A new number for ``instance``."""
        self._things += 1
        return self._things

    def triangles_of(self, points: np.ndarray, normals: np.ndarray, uv: np.ndarray, surface: np.ndarray | int) -> None:
        """Add one thing of triangles [F, 3, 3]."""
        count = len(points)
        self._points.append(points.astype(np.float32))
        self._normals.append(normals.astype(np.float32))
        self._uv.append(uv.astype(np.float32))
        self._surface.append(np.broadcast_to(np.asarray(surface, np.int32), (count,)))
        self._instance.append(np.full(count, self.thing(), np.int32))
        self.triangles += count

    def sheet(self, grid: np.ndarray, uv: np.ndarray, material: int) -> None:
        """A smooth surface through points [h, w, 3] with uv [h, w, 2]."""
        normal = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0))
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
        self.triangles_of(_faces(grid), _faces(normal), _faces(uv), material)

    def wall_quad(self, corner: np.ndarray, along: np.ndarray, up: np.ndarray, paint: Paint, shift: tuple[float, float]) -> None:
        """A parallelogram, a part of a wall whose texture runs on over it; shift: of its corner on the wall [m]."""
        normal = np.cross(along, up)
        length, height = np.linalg.norm(along), np.linalg.norm(up)
        u, v = (np.array([0, length]) + shift[0]) / paint.repeat, (np.array([0, height]) + shift[1]) / paint.repeat
        p = np.array([corner, corner + along, corner + along + up, corner + up])
        t = np.array([[u[0], v[0]], [u[1], v[0]], [u[1], v[1]], [u[0], v[1]]])
        order = np.array([[0, 1, 2], [0, 2, 3]])
        flat = np.broadcast_to(normal / np.linalg.norm(normal), (2, 3, 3))
        self.triangles_of(p[order], flat, t[order], paint.material)

    def quad(self, corner: np.ndarray, along: np.ndarray, up: np.ndarray, paint: Paint, fit: bool = False) -> None:
        """A parallelogram; its texture is upright along ``up``, in metres, or fitted once."""
        corner, along, up = (np.asarray(v, float) for v in (corner, along, up))
        normal = np.cross(along, up)
        normal /= np.linalg.norm(normal)
        su, sv = (1.0, 1.0) if fit else (np.linalg.norm(along) / paint.repeat, np.linalg.norm(up) / paint.repeat)
        p = np.array([corner, corner + along, corner + along + up, corner + up])
        t = np.array([[0, 0], [su, 0], [su, sv], [0, sv]])
        order = np.array([[0, 1, 2], [0, 2, 3]])
        self.triangles_of(p[order], np.broadcast_to(normal, (2, 3, 3)), t[order], paint.material)

    def triangle(self, a: np.ndarray, b: np.ndarray, c: np.ndarray, paint: Paint) -> None:
        """One triangle, its texture in metres along its first side and upwards."""
        points = np.stack([a, b, c])[None]
        normal = np.cross(b - a, c - a)[None]
        uv = box_uv(points, normal) / paint.repeat
        self.triangles_of(points, np.repeat(normal[:, None] / np.linalg.norm(normal), 3, 1), uv, paint.material)

    def box(self, center: Sequence[float] | np.ndarray, half: Sequence[float], paint: Paint, yaw: float = 0.0) -> None:
        """A box turned about the vertical; on every side the texture is upright and in metres."""
        hx, hy, hz = half
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        corners = signs * (hx, hy, hz)
        sides = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
        axes = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]], float)
        order = np.array([[0, 1, 2], [0, 2, 3]])
        points = corners[sides][:, order].reshape(-1, 3, 3)
        normals = np.repeat(axes, 2, 0)[:, None].repeat(3, 1)
        uv = box_uv(points, np.repeat(axes, 2, 0)) / paint.repeat
        turn = rotation_ypr(yaw, 0, 0)
        self.triangles_of(points @ turn.T + np.asarray(center), normals @ turn.T, uv, paint.material)

    def tube(self, path: np.ndarray, radius: float | np.ndarray, paint: Paint, sides: int = 8, closed: bool = True) -> None:
        """A round bar along a path [n, 3] of a radius, or one radius per point."""
        path = np.asarray(path, float)
        radii = np.broadcast_to(np.asarray(radius, float), (len(path),))
        tangent = np.gradient(path, axis=0)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
        helper = HELPERS[np.abs(HELPERS @ tangent.T).max(1).argmin()]  # along no part of the path
        a = np.cross(tangent, helper)
        a /= np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-9)
        b = np.cross(tangent, a)
        angle = np.linspace(0, 2 * np.pi, sides + 1)
        normal = np.cos(angle)[None, :, None] * a[:, None] + np.sin(angle)[None, :, None] * b[:, None]
        ring = path[:, None] + radii[:, None, None] * normal
        run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        u = np.broadcast_to(angle[None] / (2 * np.pi) * max(1, round(2 * np.pi * radii.max() / paint.repeat)), ring.shape[:2])
        v = np.broadcast_to(run[:, None] / paint.repeat, ring.shape[:2])
        uv = np.stack([u, v], -1)
        points, normals, texture = _faces(ring), _faces(normal), _faces(uv)
        if closed:
            caps = [np.stack([np.stack([ring[e, i], ring[e, i + 1], path[e]]) for i in range(sides)]) for e in (0, -1)]
            ends = [np.broadcast_to(sign * tangent[e], (sides, 3, 3)) for e, sign in ((0, -1.0), (-1, 1.0))]
            points, normals = np.concatenate([points, *caps]), np.concatenate([normals, *ends])
            texture = np.concatenate([texture, np.zeros((2 * sides, 3, 2))])
        self.triangles_of(points, normals, texture, paint.material)

    def mesh(
        self, mesh: Mesh, materials: Sequence[int], at: np.ndarray, yaw: float, restyled: dict[int, float], scale: float
    ) -> None:
        """Place a model. materials: number of each of its surfaces, −1 to leave it out; restyled: metres per repeat of surfaces
        that take a texture without having coordinates for it."""
        number = np.asarray(materials, np.int32)[mesh.surface]
        keep = number >= 0
        points, normals, uv = mesh.points[keep] * scale, mesh.normals[keep], mesh.uv[keep]
        for surface, repeat in restyled.items():
            faces = mesh.surface[keep] == surface
            flat = np.cross(points[faces, 1] - points[faces, 0], points[faces, 2] - points[faces, 0])
            uv[faces] = box_uv(points[faces], flat) / repeat
        turn = rotation_ypr(yaw, 0, 0).astype(np.float32)
        self.triangles_of(points @ turn.T + np.asarray(at, np.float32), normals @ turn.T, uv, number[keep])

    def build(self) -> Soup:
        """The finished scene."""
        texels, table = self.textures.packed()
        tint, texture, shine, grain, glow = zip(*self._materials, strict=False)
        index = np.array(texture, np.int64)
        kinds = np.array([light[0] for light in self._lights], np.int64)
        vectors = (np.array([light[i] for light in self._lights], np.float64).reshape(-1, 3) for i in range(1, 5))
        return Soup(
            points=np.concatenate(self._points),
            normals=np.concatenate(self._normals),
            uv=np.concatenate(self._uv),
            surface=np.concatenate(self._surface),
            instance=np.concatenate(self._instance),
            tint=np.array(tint, np.float32),
            texture=index,
            holes=np.array([k >= 0 and self.textures.open[k] for k in texture]),
            shine=np.array(shine, np.float32),
            grain=np.array(grain, np.float32),
            glow=np.array(glow, np.float32),
            texels=texels,
            table=table,
            lights=(kinds, *vectors),
        )


def _faces(grid: np.ndarray) -> np.ndarray:
    """Two triangles for each cell of values at its corners [h, w, C]: [F, 3, C]."""
    q = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], 2)
    return q[:, :, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, grid.shape[-1])


def box_uv(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Metres along the two axes that a face [F, 3, 3] with its normal [F, 3] spans most, v up: [F, 3, 2]."""
    axis = np.abs(normals).argmax(1)
    u = np.where((axis == 0)[:, None], points[..., 2], points[..., 0])
    v = np.where((axis == 1)[:, None], points[..., 2], -points[..., 1])
    return np.stack([u, v], -1)
