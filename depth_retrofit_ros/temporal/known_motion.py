"""The camera's own motion between two frames where somebody knows its poses: a robot by its odometry, a tracker, a renderer.

A static surface is reprojected exactly, by the coarse depth, which may be relative: how many of its units a metre is comes from the
flow, and is remembered. Then the images have their say: six small numbers are fitted to the flow that is left, with the poses' own
errors as the prior. Where there is texture they correct a pose by a fraction of a cell; where there is none the poses stand alone.
Poses that the images contradict are not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.temporal.rigid_motion import (
    AGREES,
    AGREES_SHARE,
    FEWEST_CELLS,
    LEAST_AGREEING,
    MOST_CELLS,
    RigidMotion,
    design,
    focal_lengths,
    rays,
)

TURN_SD, TURN_SD_SHARE = 0.002, 0.02  # [rad], and of the turn: how far off the rotation between two poses is thought to be
SHIFT_SD_M, SHIFT_SD_SHARE = 0.001, 0.03  # [m], and of the shift: the same across it
UNIT_SD = 0.3  # of the shift, along it: one frame's depth is so far off the scale of those before
CELL_SD = 0.3  # of the flow that is seen [cells]
ALIKE = 50  # cells whose flow is off together
ROUNDS, AGAIN = 4, 2  # of the fits, and how often what is not linear is looked at anew
TELLS = 0.3  # flow [cells] by the shift alone from which a frame has a word on the unit
OWN_SHARE = 0.2  # that it has in what is remembered
MOST_SD, MOST_OFF = 4.0, 2.0  # correction of the turn, and factor on the unit, from which it is another motion
NO_SHIFT_M = 1e-3  # up to which a motion is a turn


@dataclass(frozen=True, slots=True)
class KnownMotion:
    """rotation: ``float64 [3, 3]``, shift: ``float64 [3]`` m. A static point that the camera sees at X now was at
    rotation · X + shift in the frame before, both in the camera's own axes: x right, y down, z ahead."""

    rotation: np.ndarray
    shift: np.ndarray

    def turned(self, turn: np.ndarray) -> KnownMotion:
        """Of a camera whose rays are ``turn [3, 3]`` times this one's, as rectification makes one."""
        return KnownMotion(turn @ self.rotation @ turn.T, turn @ self.shift)

    @property
    def angle(self) -> float:
        """By which it turns [rad]."""
        return float(np.linalg.norm(cv2.Rodrigues(self.rotation)[0]))

    @property
    def is_turn(self) -> bool:
        """Whether it shifts by next to nothing, so that depth, and its unit, have no part in it."""
        return float(np.linalg.norm(self.shift)) <= NO_SHIFT_M


Motions = Callable[[str, int, int], KnownMotion]
"""Of the camera whose images have this frame_id, from the first stamp [ns] to the second. Raises TransformError where it is
unknown; does not wait for it."""


@dataclass(frozen=True, slots=True)
class FoundMotion:
    """unit: how many of the depth's units a metre is, None where nothing has told."""

    rigid: RigidMotion
    unit: float | None


@dataclass(frozen=True, slots=True)
class _There:
    """Where points of this frame are in the one before: rays x, y, depth z, and their flow u, v [cells]."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    u: np.ndarray
    v: np.ndarray


@dataclass(frozen=True, slots=True)
class _Points:
    """Of this frame: rays x, y and depth z; focal: fx, fy of the coarse grid [cells]."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    focal: tuple[float, float]

    @classmethod
    def of(cls, depth: np.ndarray, camera: Camera | None) -> _Points:
        """All cells of ``float32 [h, w]``."""
        low = depth.shape[0], depth.shape[1]
        return cls(*rays(low, camera), depth, focal_lengths(low, camera))

    def chosen(self, cells: np.ndarray) -> _Points:
        """Some, flat, in double precision."""
        x, y, z = (np.broadcast_to(a, self.z.shape).ravel()[cells].astype(np.float64) for a in (self.x, self.y, self.z))
        return replace(self, x=x, y=y, z=z)

    def there(self, rotation: np.ndarray, shift: np.ndarray) -> _There:
        """shift: in units of the depth."""
        r, t = rotation.astype(self.z.dtype), shift.astype(self.z.dtype)
        near = 1 / self.z
        x, y, z = (r[i, 0] * self.x + r[i, 1] * self.y + (r[i, 2] + t[i] * near) for i in range(3))
        z = np.maximum(z, self.z.dtype.type(0.1))  # of a point that was nearly at the camera, or behind it
        x, y = x / z, y / z
        return _There(x, y, z * self.z, self.focal[0] * (x - self.x), self.focal[1] * (y - self.y))

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> RigidMotion:
        """As the frame before carries it."""
        there = self.there(rotation, shift)
        return RigidMotion(np.stack([there.u, there.v], -1), np.log(self.z / there.z))


def turning_flow(rotation: np.ndarray, low: tuple[int, int], camera: Camera | None) -> np.ndarray:
    """``float32 [h, w, 2]`` of what is far away."""
    return _Points.of(np.ones(low, np.float32), camera).moved(rotation, np.zeros(3)).flow


def reprojected(motion: KnownMotion, unit: float | None, depth: np.ndarray, camera: Camera | None) -> RigidMotion | None:
    """By the poses alone; None where the unit is unknown and matters. depth: ``float32 [h, w]`` of this frame; unit: of that, how
    many a metre is."""
    if unit is None and not motion.is_turn:
        return None
    return _Points.of(depth, camera).moved(motion.rotation, (unit or 0.0) * motion.shift)


def is_told(motion: KnownMotion, unit: float | None, usable: np.ndarray) -> bool:
    """Whether ``fit_known_motion`` has what it needs: enough cells ``bool [h, w]``, the unit, or a motion that is a turn."""
    return unit is not None or motion.is_turn or int(np.count_nonzero(usable)) >= FEWEST_CELLS


def fit_known_motion(
    motion: KnownMotion, unit: float | None, flow: np.ndarray, depth: np.ndarray, usable: np.ndarray, camera: Camera | None
) -> FoundMotion | None:
    """By the poses and the flow that is seen; None where these contradict each other.

    unit: as it was before, None where nothing has told; flow: ``float32 [h, w, 2]`` as in ``RigidMotion``; depth:
    ``float32 [h, w]`` of this frame, up to scale; usable: ``bool [h, w]``, where both are known.
    """
    cells = np.flatnonzero(usable)
    everywhere = _Points.of(depth, camera)
    if cells.size < FEWEST_CELLS:
        alone = reprojected(motion, unit, depth, camera)
        return None if alone is None else FoundMotion(alone, unit)
    cells = cells[:: -(-cells.size // MOST_CELLS)]
    points, seen = everywhere.chosen(cells), flow.reshape(-1, 2)[cells].astype(np.float64).T
    begin = _unit(motion, points, seen) if unit is None else unit
    rotation, shift = _corrected(motion, begin, points, seen)
    correction = KnownMotion(rotation @ motion.rotation.T, shift)
    there = points.there(rotation, shift)
    agree = np.mean(np.hypot(*_left(there, seen)) <= _tolerance(seen))
    if agree < LEAST_AGREEING or correction.angle > MOST_SD * _turn_sd(motion):
        return None
    given = correction.rotation @ motion.shift
    own = max(float(shift @ given) / max(float(given @ given), 1e-12), 0.0)
    if max(own, begin) * float(np.median(np.hypot(*_by_shift(there, given, points.focal)))) > TELLS:
        if max(own, begin) > MOST_OFF * min(own, begin):
            return None
        unit = own if unit is None else unit + OWN_SHARE * (own - unit)
    return FoundMotion(everywhere.moved(rotation, shift), unit)


def _unit(motion: KnownMotion, points: _Points, seen: np.ndarray) -> float:
    """How many units of the depth a metre is by one frame."""
    unit = 0.0
    for _ in range(ROUNDS):
        there = points.there(motion.rotation, unit * motion.shift)
        left, along = _left(there, seen), _by_shift(there, motion.shift, points.focal)
        weight = _weight(left, seen)
        unit = max(unit + float((weight * left * along).sum()) / max(float((weight * along * along).sum()), 1e-12), 0.0)
    return unit


def _by_shift(there: _There, shift: np.ndarray, focal: tuple[float, float]) -> np.ndarray:
    """``[2, N]``, what a unit more does to the flow [cells]."""
    rays_there = there.x, there.y
    return np.stack([f * (t - ray * shift[2]) for f, t, ray in zip(focal, shift[:2], rays_there, strict=True)]) / there.z


def _turn_sd(motion: KnownMotion) -> float:
    return TURN_SD + TURN_SD_SHARE * motion.angle


def _corrected(motion: KnownMotion, unit: float, points: _Points, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and shift, in units of the depth, by the poses and by what is seen."""
    shift = unit * motion.shift
    length = float(np.linalg.norm(shift))
    ahead = np.outer(shift, shift) / max(length, 1e-12) ** 2
    across, along = max(SHIFT_SD_SHARE * length, SHIFT_SD_M * unit, 1e-9), max(UNIT_SD * length, SHIFT_SD_M * unit, 1e-9)
    held = np.zeros((6, 6))
    held[:3, :3] = (np.eye(3) - ahead) / across**2 + ahead / along**2
    held[3:, 3:] = np.eye(3) / _turn_sd(motion) ** 2
    held *= ALIKE * CELL_SD**2
    fx, fy = points.focal
    so_far = np.zeros(6)
    rotation = motion.rotation
    for _ in range(AGAIN):
        there = points.there(rotation, shift)
        left, step = _left(there, seen), np.zeros(6)
        rows_u, rows_v = design(there.x, there.y, 1 / there.z)
        rows_u, rows_v = fx * rows_u, fy * rows_v
        for _ in range(ROUNDS):
            weight = _weight(left - np.stack([rows_u @ step, rows_v @ step]), seen)
            normal = (rows_u * weight[:, None]).T @ rows_u + (rows_v * weight[:, None]).T @ rows_v + held
            right = rows_u.T @ (weight * left[0]) + rows_v.T @ (weight * left[1]) - held @ so_far
            step = np.linalg.solve(normal, right)
        turned = cv2.Rodrigues(step[3:])[0]
        rotation, shift, so_far = turned @ rotation, turned @ shift + step[:3], so_far + step
    return rotation, shift


def _left(there: _There, seen: np.ndarray) -> np.ndarray:
    """``[2, N]``, what of the flow that is seen the motion does not tell [cells]."""
    return np.stack([seen[0] - there.u, seen[1] - there.v])


def _tolerance(seen: np.ndarray) -> np.ndarray:
    return np.asarray(AGREES + AGREES_SHARE * np.hypot(*seen))


def _weight(left: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of each cell: things that move by themselves count little."""
    return np.asarray(1.0 / (1.0 + (np.hypot(*left) / (0.3 * _tolerance(seen))) ** 2))
