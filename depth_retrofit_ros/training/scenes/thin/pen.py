"""What thin things are drawn with: tubes, rings, leaves and slabs, at a spot in the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from depth_retrofit_ros.training.scenes.layout import Decorator
from depth_retrofit_ros.training.scenes.scene import Kind, Material, SceneBuilder, frame_along, rotation_ypr

THINNEST, WIDEST = 0.3 / 518, 2.5 / 256  # of the frame's long side: 0.3 cells of a fine coarse map, 2.5 of a rough one


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a thing stands or hangs. foot [3] m; turn [3, 3]; height: of the thing [m]; distance: of the camera along its axis [m];
    width: of its thinnest parts [m]."""

    foot: np.ndarray
    turn: np.ndarray
    height: float
    distance: float
    width: float

    def point(self, x: float, y: float, z: float = 0.0) -> np.ndarray:
        """x across, y upwards, z away, in heights of the thing → the world [m]."""
        return np.asarray(self.foot + self.turn @ np.array([x, -y, z]) * self.height)

    def points(self, local: np.ndarray) -> np.ndarray:
        """The same for rows [N, 3]."""
        return np.asarray(self.foot + (local * [1, -1, 1]) @ self.turn.T * self.height)


@dataclass(slots=True)
class Pen:
    """Adds primitives to a scene. behind: materials of what is behind, which a thing may share."""

    rng: np.random.Generator
    deco: Decorator
    builder: SceneBuilder
    behind: Sequence[Material]

    def material(self) -> Material:
        """Of a thing: anything, calm paint, or what is behind it, so that colours alone do not tell it apart."""
        rng, m = self.rng, self.deco.solid()
        chance = rng.random()
        if chance < 0.2 and self.behind:
            like = self.behind[int(rng.integers(len(self.behind)))]
            shade = float(np.exp(rng.normal(0, 0.15)))
            return replace(like, tint=np.clip(like.tint * shade, 0.03, 1.6), cutout=-1)
        if chance < 0.6:
            return replace(m, texture=int(rng.integers(self.deco.textures.plain)), tint=m.tint * rng.choice([0.08, 0.3, 0.7, 1.2]))
        return m

    def green(self) -> Material:
        """Of leaves and stems: mostly some green or brown."""
        rng, m = self.rng, self.material()
        if rng.random() < 0.6:
            hue = np.array([0.45, 0.62, 0.25]) + rng.normal(0, 0.12, 3)
            m = replace(m, tint=np.clip(hue * rng.uniform(0.2, 1.5), 0.03, 1.4))
        return m

    def log_uniform(self, low: float, high: float) -> float:
        """Between low and high, every factor as likely."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def tube(self, points: np.ndarray, width: float, material: Material, end_width: float | None = None) -> None:
        """Along points [N, 3] m; width tapers to ``end_width`` [m]."""
        last = width if end_width is None else end_width
        widths = np.linspace(width, last, len(points))
        for i, (a, b) in enumerate(pairwise(points)):
            w = 0.5 * float(widths[i] + widths[i + 1])
            along = b - a
            length = float(np.linalg.norm(along))
            if length > 1e-6:
                reach = 0.25 * w / length if i + 2 < len(points) else 0.0  # closes the gap outside of a bend
                self.builder.rod(a, b + reach * along, w / 2, material)

    def line(self, a: np.ndarray, b: np.ndarray, width: float, material: Material) -> None:
        """A straight rod."""
        self.builder.rod(a, b, width / 2, material)

    def ring(
        self, center: np.ndarray, frame: np.ndarray, radius: float, width: float, material: Material, arc: float = 1.0
    ) -> None:
        """A circle, or a share ``arc`` of it, in the plane of the frame's first two columns."""
        pieces = max(6, int(20 * arc * min(1.0, 0.35 + radius / (12 * width))))
        angle = np.linspace(0, 2 * np.pi, pieces + 1)
        self.tube(center + radius * (np.cos(angle)[:, None] * frame[:, 0] + np.sin(angle)[:, None] * frame[:, 1]), width, material)

    def ball(
        self, center: np.ndarray, half: float | Sequence[float] | np.ndarray, material: Material, turn: np.ndarray | None = None
    ) -> None:
        """An ellipsoid."""
        self.builder.add(Kind.ELLIPSOID, center, np.broadcast_to(np.asarray(half, float), 3), material, turn)

    def slab(self, center: np.ndarray, half: Sequence[float], material: Material, turn: np.ndarray) -> None:
        """A box."""
        self.builder.add(Kind.BOX, center, np.asarray(half, float), material, turn)

    def strip(self, a: np.ndarray, b: np.ndarray, width: float, thick: float, material: Material, facing: np.ndarray) -> None:
        """A flat bar from a to b, its width across ``facing`` [3]."""
        axis = b - a
        length = float(np.linalg.norm(axis))
        if length > 1e-6:
            axis = axis / length
            side = np.cross(axis, facing)
            side = side / max(float(np.linalg.norm(side)), 1e-9)
            frame = np.stack([side, np.cross(axis, side), axis], 1)
            self.slab((a + b) / 2, (width / 2, thick / 2, length / 2), material, frame)

    def leaf(self, base: np.ndarray, direction: np.ndarray, length: float, width: float, material: Material) -> None:
        """A flat ellipse from its base on, rolled at random."""
        frame = frame_along(direction / max(float(np.linalg.norm(direction)), 1e-9))
        roll = self.rng.uniform(0, np.pi)
        x = np.cos(roll) * frame[:, 0] + np.sin(roll) * frame[:, 1]
        turned = np.stack([x, np.cross(frame[:, 2], x), frame[:, 2]], 1)
        self.ball(base + frame[:, 2] * length / 2, (width / 2, 0.04 * width, length / 2), material, turned)

    def sag(self, a: np.ndarray, b: np.ndarray, drop: float, pieces: int = 16) -> np.ndarray:
        """Points of a rope from a to b that hangs ``drop`` [m] in the middle."""
        s = np.linspace(0, 1, pieces + 1)[:, None]
        return np.asarray(a + s * (b - a) + 4 * drop * s * (1 - s) * np.array([0.0, 1.0, 0.0]))

    def spline(self, knots: np.ndarray, pieces: int) -> np.ndarray:
        """A smooth curve through knots [K, 3] (Catmull-Rom), ``pieces`` between two."""
        k = np.concatenate([knots[:1], knots, knots[-1:]])
        s = np.linspace(0, 1, pieces, endpoint=False)[:, None]
        parts = []
        for a, b, c, d in zip(k, k[1:], k[2:], k[3:], strict=False):
            parts.append(0.5 * (2 * b + s * (c - a) + s**2 * (2 * a - 5 * b + 4 * c - d) + s**3 * (3 * b - a - 3 * c + d)))
        return np.concatenate([*parts, knots[-1:]])

    def any_turn(self) -> np.ndarray:
        """A rotation, every one as likely as another, nearly."""
        return rotation_ypr(*self.rng.uniform(0, 2 * np.pi, 3))
