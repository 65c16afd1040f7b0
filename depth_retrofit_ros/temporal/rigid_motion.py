"""The camera's own motion between two frames, from optical flow and the coarse depth: what static surfaces must do.

For a small rotation ω and a translation t the flow of a static surface at depth Z is linear in (t, ω) (Longuet-Higgins & Prazdny
1980), so six numbers are fitted to thousands of cells by iteratively reweighted least squares. They tell where a static surface was
in the frame before, also where it shows no texture, and how its depth changed, which a map that is carried on must follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_retrofit_ros.camera import Camera

MOST_CELLS = 3000  # that the fit looks at, evenly spaced
ROUNDS = 6
AGREES, AGREES_SHARE = 0.7, 0.1  # flow is a static surface's up to so many cells, and so much of its own length
LEAST_AGREEING = 0.5  # share of the cells, below which the motion is unknown
ASSUMED_HFOV = 60.0  # [deg] of a camera that is unknown
FEWEST_CELLS = 100


@dataclass(frozen=True, slots=True)
class RigidMotion:
    """flow: ``float32 [h, w, 2]``, x and y in cells, from each cell of this frame to where its surface was in the frame before;
    change: ``float32 [h, w]``, ln(depth of that point now / then)."""

    flow: np.ndarray
    change: np.ndarray


def fit_rigid_motion(flow: np.ndarray, depth: np.ndarray, usable: np.ndarray, camera: Camera | None) -> RigidMotion | None:
    """The motion that most of the cells agree on; None where fewer than ``LEAST_AGREEING`` of them do.

    flow: ``float32 [h, w, 2]`` as in ``RigidMotion``; depth: ``float32 [h, w]`` of this frame, up to scale; usable:
    ``bool [h, w]``, where both are known; camera: of the frame, None where it is unknown.
    """
    h, w = depth.shape
    x, y = rays((h, w), camera)
    fx, fy = focal_lengths((h, w), camera)
    chosen = np.flatnonzero(usable)
    if chosen.size < FEWEST_CELLS:
        return None
    chosen = chosen[:: -(-chosen.size // MOST_CELLS)]
    u, v = flow.reshape(-1, 2)[chosen].astype(np.float64).T
    xs, ys = (np.broadcast_to(a, (h, w)).ravel()[chosen] for a in (x, y))
    inverse = 1.0 / depth.ravel()[chosen].astype(np.float64)
    unit = 1.0 / np.median(inverse)  # so that all six columns are of one size
    rows_u, rows_v = design(xs, ys, inverse * unit)
    rows_u, rows_v = rows_u * fx, rows_v * fy
    tolerance = AGREES + AGREES_SHARE * np.hypot(u, v)
    weight = np.ones_like(u)
    motion = np.zeros(6)
    for _ in range(ROUNDS):
        normal = (rows_u * weight[:, None]).T @ rows_u + (rows_v * weight[:, None]).T @ rows_v
        right = rows_u.T @ (weight * u) + rows_v.T @ (weight * v)
        motion = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(6), right)
        error = np.hypot(rows_u @ motion - u, rows_v @ motion - v)
        weight = 1.0 / (1.0 + (error / (0.3 * tolerance)) ** 2)
    if np.mean(error <= tolerance) < LEAST_AGREEING:
        return None
    tx, ty, tz = (motion[:3] * unit).astype(np.float32)
    wx, wy, wz = motion[3:].astype(np.float32)
    near = 1.0 / depth
    moved = np.empty((h, w, 2), np.float32)
    moved[..., 0] = fx * ((tx - x * tz) * near + wy * (1 + x * x) - wx * (x * y) - wz * y)
    moved[..., 1] = fy * ((ty - y * tz) * near - wx * (1 + y * y) + wy * (x * y) + wz * x)
    before = 1 + tz * near + wx * y - wy * x  # depth then, as a share of depth now
    return RigidMotion(moved, -np.log(np.maximum(before, np.float32(0.1))))


def design(x: np.ndarray, y: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the linear equations for (tx, ty, tz, ωx, ωy, ωz), in focal lengths."""
    zero = np.zeros_like(x)
    u = np.stack([inverse, zero, -x * inverse, -x * y, 1 + x * x, -y], 1)
    v = np.stack([zero, inverse, -y * inverse, -(1 + y * y), x * y, x], 1)
    return u, v


def focal_lengths(low: tuple[int, int], camera: Camera | None) -> tuple[float, float]:
    """fx, fy of the coarse grid [cells]."""
    if camera is None:
        camera = Camera.from_hfov(low[1], low[0], ASSUMED_HFOV)
    return camera.fx * low[1] / camera.width, camera.fy * low[0] / camera.height


def rays(low: tuple[int, int], camera: Camera | None) -> tuple[np.ndarray, np.ndarray]:
    """x ``[1, w]`` and y ``[h, 1]`` of the cells' rays at depth 1, float32."""
    h, w = low
    if camera is None:
        camera = Camera.from_hfov(w, h, ASSUMED_HFOV)
    columns = (np.arange(w, dtype=np.float32) + 0.5) * np.float32(camera.width / w) - 0.5
    rows = (np.arange(h, dtype=np.float32) + 0.5) * np.float32(camera.height / h) - 0.5
    x = (columns - np.float32(camera.cx)) / np.float32(camera.fx)
    y = (rows - np.float32(camera.cy)) / np.float32(camera.fy)
    return x[None], y[:, None]
