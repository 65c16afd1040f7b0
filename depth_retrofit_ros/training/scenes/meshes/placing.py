"""Where things may stand: footprints that do not overlap, and faces of things that others can be put on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.obj import Mesh

SLACK_M = 0.005  # by which a footprint may be beyond the floor's edge


@dataclass(frozen=True, slots=True)
class Footprint:
    """A rectangle on the floor, turned by yaw: x, z of its middle, half sides; from bottom to top above the floor; all in m."""

    x: float
    z: float
    half_x: float
    half_z: float
    yaw: float
    bottom: float
    top: float

    def corners(self) -> np.ndarray:
        """[4, 2] (x, z)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        along, across = np.array([c, -s]) * self.half_x, np.array([s, c]) * self.half_z
        middle = np.array([self.x, self.z])
        return np.stack([middle + along + across, middle + along - across, middle - along - across, middle - along + across])

    def overlaps(self, other: Footprint) -> bool:
        """Whether two share space; by separating axes."""
        if self.bottom >= other.top or other.bottom >= self.top:
            return False
        a, b = self.corners(), other.corners()
        for yaw in (self.yaw, other.yaw):
            for axis in (np.array([np.cos(yaw), -np.sin(yaw)]), np.array([np.sin(yaw), np.cos(yaw)])):
                pa, pb = a @ axis, b @ axis
                if pa.max() <= pb.min() or pb.max() <= pa.min():
                    return False
        return True


@dataclass(slots=True)
class Floor:
    """A rectangle to stand things on: x from −width/2 to width/2, z from 0 to depth [m]."""

    width: float
    depth: float
    taken: list[Footprint] = field(default_factory=list)

    def take(self, footprint: Footprint) -> bool:
        """Take the place if it is free and inside."""
        if not self.free(footprint):
            return False
        self.taken.append(footprint)
        return True

    def free(self, footprint: Footprint) -> bool:
        """Whether nothing is there yet, and it is not beyond the edges."""
        corners = footprint.corners()
        inside = np.abs(corners[:, 0]).max() <= self.width / 2 + SLACK_M
        inside &= corners[:, 1].min() >= -SLACK_M and corners[:, 1].max() <= self.depth + SLACK_M
        return bool(inside) and not any(footprint.overlaps(other) for other in self.taken)


def facing(direction: np.ndarray) -> float:
    """Yaw by which a model's front, z −, looks along a horizontal direction (x, z)."""
    return float(np.arctan2(-direction[0], -direction[1]))


def rests(mesh: Mesh, rng: np.random.Generator, half: tuple[float, float], height: float, tries: int = 8) -> np.ndarray | None:
    """A place on a model, in its own axes, for a thing of these half sides and this height: [x, y, z] of the thing's foot.

    A place is level under the thing's middle and four corners, on faces that look up, and free above them.
    """
    low, high = mesh.points.reshape(-1, 3).min(0), mesh.points.reshape(-1, 3).max(0)
    room = (high - low)[[0, 2]] / 2 - np.array(half)
    if (room < 0).any():
        return None
    middle = (high + low)[[0, 2]] / 2
    for _ in range(tries):
        at = middle + rng.uniform(-room, room)
        spots = at + np.array([[0, 0], [-1, -1], [1, -1], [-1, 1], [1, 1]]) * np.array(half) * 0.9
        hits = [_heights(mesh, spot) for spot in spots]
        if any(not up.any() for _, up in hits):
            continue
        levels = [y for y in hits[0][0][hits[0][1]] if all(_is_level(*hit, y, height) for hit in hits)]
        if levels:
            return np.array([at[0], levels[rng.integers(len(levels))], at[1]])
    return None


def _is_level(hits: np.ndarray, up: np.ndarray, y: float, height: float) -> bool:
    near = np.abs(hits[up] - y).min() < 0.008
    above = hits[(hits < y - 0.008)]
    return bool(near) and bool(not len(above) or above.max() < y - height - 0.01)


def _heights(mesh: Mesh, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The y at which the vertical line through (x, z) meets triangles, and which of these look up."""
    p = mesh.points[..., [0, 2]] - at.astype(np.float32)
    cross = [p[:, i, 0] * p[:, j, 1] - p[:, i, 1] * p[:, j, 0] for i, j in ((1, 2), (2, 0), (0, 1))]
    w = np.stack(cross, 1)
    total = w.sum(1)
    inside = ((w >= 0).all(1) | (w <= 0).all(1)) & (np.abs(total) > 1e-9)
    y = (w[inside] * mesh.points[inside][..., 1]).sum(1) / total[inside]
    return y, mesh.normals[inside][..., 1].mean(1) < -0.7
