"""The normals of exact depth, as renderers give it: the reference of those that are estimated."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.camera import Camera

BEND = 0.1  # of the slope, that three pixels in a row of one surface may show
BEND_OF_INVERSE = 1e-4  # and of inverse depth, which float32 and the depth's own steps make


def exact_normals(depth: np.ndarray, camera: Camera, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The normals of exact depth ``float32 [H, W]`` of piecewise flat surfaces, ``float32 [3, H, W]``: unit vectors that face the
    camera (x right, y down, z forward); NaN where a pixel has not, along each axis, two neighbours on one side in line with it.
    origin: where in the camera's image (y, x) the depth begins, of a part of it.

    Inverse depth is affine on a plane: along each axis its slope is that of the side whose three pixels are nearer to one line.
    """
    inverse = np.full(depth.shape, np.nan)
    np.divide(1.0, depth, out=inverse, where=np.isfinite(depth) & (depth > 0))
    across, down = (_slope(inverse, axis) for axis in (1, 0))
    x, y = (s[first : first + n] for s, first, n in zip(camera.ray_slopes(), origin[::-1], depth.shape[::-1], strict=True))
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
