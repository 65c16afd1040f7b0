"""A scene as arrays: convex primitives with materials, one sun, a sky."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Any

import numpy as np
import torch


class Kind(IntEnum):
    """Primitive shapes; each is the unit shape scaled by ``half`` along its own axes."""

    QUAD = 0  # |x|, |y| < 1 at z = 0
    BOX = 1  # |x|, |y|, |z| < 1
    CYLINDER = 2  # x² + y² < 1, |z| < 1
    ELLIPSOID = 3  # x² + y² + z² < 1


@dataclass(slots=True)
class Material:
    """Look of a surface: texture index, metres per texture repeat, tint, gloss 0…1, cut-out mask (−1 = solid) and its scale [m]."""

    texture: int
    scale_m: float
    tint: np.ndarray
    gloss: float = 0.0
    cutout: int = -1
    cutout_scale_m: float = 1.0


@dataclass(slots=True)
class SceneBuilder:
    """Collects primitives; world axes: x right, y down, z forward, metres (the first camera looks along z)."""

    kinds: list[int] = field(default_factory=list)
    centers: list[np.ndarray] = field(default_factory=list)
    rotations: list[np.ndarray] = field(default_factory=list)
    halves: list[np.ndarray] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    casts: list[bool] = field(default_factory=list)

    def add(
        self,
        kind: Kind,
        center: np.ndarray | tuple[float, float, float],
        half: np.ndarray | tuple[float, float, float],
        material: Material,
        rotation: np.ndarray | None = None,
        casts_shadow: bool = True,
    ) -> None:
        """One primitive; rotation: columns are its axes in the world, [3, 3]."""
        self.kinds.append(int(kind))
        self.centers.append(np.asarray(center, np.float32))
        self.halves.append(np.maximum(np.asarray(half, np.float32), 1e-4))
        self.rotations.append(np.eye(3, dtype=np.float32) if rotation is None else rotation.astype(np.float32))
        self.materials.append(material)
        self.casts.append(casts_shadow)

    def rod(self, start: np.ndarray, end: np.ndarray, radius: float, material: Material) -> None:
        """A cylinder from start to end [m]."""
        axis = np.asarray(end, np.float64) - np.asarray(start, np.float64)
        length = float(np.linalg.norm(axis))
        if length > 1e-6:
            center = (np.asarray(start) + np.asarray(end)) / 2
            self.add(Kind.CYLINDER, center, (radius, radius, length / 2), material, frame_along(axis / length))

    def build(self, light: Light) -> Scene:
        """The finished scene on the CPU."""
        m = self.materials
        return Scene(
            kind=torch.tensor(self.kinds, dtype=torch.int64),
            center=torch.from_numpy(np.stack(self.centers)),
            rotation=torch.from_numpy(np.stack(self.rotations)),
            half=torch.from_numpy(np.stack(self.halves)),
            texture=torch.tensor([x.texture for x in m], dtype=torch.int64),
            scale_m=torch.tensor([x.scale_m for x in m], dtype=torch.float32),
            tint=torch.from_numpy(np.stack([x.tint for x in m]).astype(np.float32)),
            gloss=torch.tensor([x.gloss for x in m], dtype=torch.float32),
            cutout=torch.tensor([x.cutout for x in m], dtype=torch.int64),
            cutout_scale_m=torch.tensor([x.cutout_scale_m for x in m], dtype=torch.float32),
            casts=torch.tensor(self.casts),
            light=light,
        )


@dataclass(frozen=True, slots=True)
class Light:
    """Sun direction (unit, from the surface towards the sun, y down), strengths, penumbra [shadow-map texels], sky colours 0…1."""

    to_sun: np.ndarray
    sun: np.ndarray
    ambient: np.ndarray
    penumbra: float
    sky_top: np.ndarray
    sky_horizon: np.ndarray


@dataclass(frozen=True, slots=True)
class Scene:
    """P primitives. center [P, 3] m; rotation [P, 3, 3] (columns: own axes); half [P, 3] m; material arrays [P]."""

    kind: torch.Tensor
    center: torch.Tensor
    rotation: torch.Tensor
    half: torch.Tensor
    texture: torch.Tensor
    scale_m: torch.Tensor
    tint: torch.Tensor
    gloss: torch.Tensor
    cutout: torch.Tensor
    cutout_scale_m: torch.Tensor
    casts: torch.Tensor
    light: Light

    def to(self, device: torch.device) -> Scene:
        """The same scene on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {k: v.to(device) for k, v in values.items() if isinstance(v, torch.Tensor)}
        return replace(self, **moved)

    def corners(self) -> torch.Tensor:
        """Corners of every primitive's bounding box in the world, [P, 8, 3]."""
        signs = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=torch.float32)
        local = signs.to(self.half.device)[None] * self.half[:, None]
        return local @ self.rotation.transpose(1, 2) + self.center[:, None]


@dataclass(frozen=True, slots=True)
class Pose:
    """Camera in the world: rotation [3, 3] (columns: camera axes x right, y down, z forward), position [3] m."""

    rotation: np.ndarray
    position: np.ndarray


def frame_along(axis: np.ndarray) -> np.ndarray:
    """A rotation whose third column is the unit vector ``axis``."""
    helper = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    x = _cross(helper, axis)
    x /= np.linalg.norm(x)
    return np.stack([x, _cross(axis, x), axis], axis=1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of two vectors [3]; a tenth of the time that NumPy's takes, which is for arrays of them."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def rotation_ypr(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation from yaw about y (down), pitch about x (right), roll about z (forward), radians, applied in reverse order."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z
