"""How far surface normals are from a reference, and the reference that exact depth is."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.metrics.pointwise import both_known

WITHIN_DEG = 11.25  # the tightest of the three customary thresholds
BEND = 0.1  # of the slope, that three pixels in a row of one surface may show
BEND_OF_INVERSE = 1e-4  # and of inverse depth, which float32 and the depth's own steps make


def angular_error(normals: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> dict[str, float]:
    """Over the pixels that both know (and ``where``, bool [H, W], picks), the angle between unit normals ``float32 [3, H, W]``.

    ``normal_mean``, ``normal_median`` [deg], and ``normal_within``: the share of angles below 11.25 degrees; NaN without any.
    """
    angles = angles_deg(normals, reference)
    known = np.isfinite(angles) if where is None else np.isfinite(angles) & where
    if not known.any():
        return dict.fromkeys(("normal_mean", "normal_median", "normal_within"), float("nan"))
    angles = angles[known]
    return {
        "normal_mean": float(np.mean(angles, dtype=np.float64)),
        "normal_median": float(np.median(angles)),
        "normal_within": float(np.mean(angles < WITHIN_DEG)),
    }


def angles_deg(normals: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Between unit vectors ``[3, H, W]``, ``float32 [H, W]`` [deg]; exact for small angles too. NaN where either is."""
    apart = np.linalg.norm(normals - reference, axis=0)
    return np.asarray(np.degrees(2 * np.arcsin(np.minimum(apart / 2, 1.0))), np.float32)


def exact_normals(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """The normals of exact depth ``float32 [H, W]`` of piecewise flat surfaces, ``float32 [3, H, W]``: unit vectors that face the
    camera (x right, y down, z forward); NaN where a pixel has not, along each axis, two neighbours on one side in line with it.

    Inverse depth is affine on a plane: along each axis its slope is that of the side whose three pixels are nearer to one line.
    """
    inverse = np.full(depth.shape, np.nan)
    np.divide(1.0, depth, out=inverse, where=both_known(depth, depth))
    across, down = (_slope(inverse, axis) for axis in (1, 0))
    x, y = camera.ray_slopes()
    across, down = across * camera.fx, down * camera.fy
    normals = np.stack((across, down, inverse - across * x - down * y[:, None]))
    return np.asarray(-normals / np.linalg.norm(normals, axis=0), np.float32)


def _slope(inverse: np.ndarray, axis: int) -> np.ndarray:
    """Of inverse depth along an axis, by a pixel; NaN where neither side is one surface."""
    moved = np.moveaxis(inverse, axis, 0)
    padded = np.pad(moved, ((2, 2), (0, 0)), constant_values=np.nan)
    ahead, behind = padded[3:-1] - moved, moved - padded[1:-3]
    bend_ahead = np.abs(padded[4:] - padded[3:-1] - ahead)
    bend_behind = np.abs(padded[1:-3] - padded[:-4] - behind)
    first = np.where(np.isnan(bend_behind), True, bend_ahead <= bend_behind)
    slope, bend = np.where(first, ahead, behind), np.where(first, bend_ahead, bend_behind)
    slope[~(bend <= BEND * np.abs(slope) + BEND_OF_INVERSE * moved)] = np.nan
    return np.moveaxis(slope, 0, axis)
