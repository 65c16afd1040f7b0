"""A flight through an organised cloud: a virtual camera on a closed path near the real one, and what it sees."""

from __future__ import annotations

import math

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.kernel_cache import cached_njit

BACKGROUND_RGB = (24, 24, 28)
SIDEWAYS, UPWARDS, FORWARDS = 0.16, 0.06, 0.24  # of the distance of what is looked at
NEAREST = 0.15  # of that distance: nearer points are behind the lens
LARGEST_PX = 6  # side of a point's square
OVERSAMPLED = 2  # drawn at so many times the size, and averaged
FILLED = 1.4  # side of a point's square, of the pixel that it came from: so much closes most gaps of slanted surfaces


class FlyThrough:
    """Pictures of one cloud, by the share (0…1) of a closed path that begins and ends at the camera which took it.

    cloud: organised, ``float32 [h, w, 4]`` as ``pointcloud.organized`` makes it, in any unit. camera: that of the image, at
    any size. size: (width, height) of the pictures [px].
    """

    def __init__(self, cloud: np.ndarray, camera: Camera, size: tuple[int, int]) -> None:
        self._size = size
        known = cloud[np.isfinite(cloud[..., 2])]
        self._points = np.ascontiguousarray(known[:, :3], np.float32)
        self._colors = np.ascontiguousarray(np.ascontiguousarray(known[:, 3]).view(np.uint32))
        self._lens = camera.resized(size[0] * OVERSAMPLED, size[1] * OVERSAMPLED)
        self._spacing = camera.resized(cloud.shape[1], cloud.shape[0])
        self._distance = float(np.median(known[:, 2])) if len(known) else 1.0

    def pose(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Rotation [3, 3] and translation [3] from the cloud's frame into the camera's: it sways, comes nearer, and always looks at
        the point straight ahead at the cloud's median depth."""
        turn = 2 * math.pi * share
        away = self._distance * np.array(
            [SIDEWAYS * math.sin(turn), -UPWARDS * (1 - math.cos(turn)), FORWARDS * (1 - math.cos(turn)) / 2]
        )
        ahead = np.array([0.0, 0.0, self._distance]) - away
        ahead /= np.linalg.norm(ahead)
        right = np.cross([0.0, 1.0, 0.0], ahead)
        right /= np.linalg.norm(right)
        rotation = np.stack((right, np.cross(ahead, right), ahead))
        return rotation.astype(np.float32), (-rotation @ away).astype(np.float32)

    def picture(self, share: float) -> np.ndarray:
        """``uint8 [height, width, 3]`` RGB; ``BACKGROUND_RGB`` where no point is."""
        rotation, translation = self.pose(share)
        width, height = self._size[0] * OVERSAMPLED, self._size[1] * OVERSAMPLED
        out = np.empty((height, width, 3), np.uint8)
        out[:] = BACKGROUND_RGB
        nearest = np.full((height, width), np.inf, np.float32)
        lens, spacing = self._lens, max(1 / self._spacing.fx, 1 / self._spacing.fy)
        drawn = np.array([lens.fx, lens.fy, lens.cx, lens.cy, spacing, NEAREST * self._distance], np.float32)
        _splat(self._points, self._colors, rotation, translation, drawn, nearest, out)
        return np.asarray(cv2.resize(out, self._size, interpolation=cv2.INTER_AREA))


@cached_njit(nogil=True)
def _splat(
    points: np.ndarray,
    colors: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
    lens: np.ndarray,
    nearest: np.ndarray,
    out: np.ndarray,
) -> None:
    """Points ``float32 [N, 3]`` with colors ``uint32 [N]`` (0x00RRGGBB) as squares, ``FILLED`` times as wide as the pixel that each
    came from, the nearest on top. lens: fx, fy, cx, cy [px], width of a pixel's ray at depth 1, least depth. nearest: ``float32
    [h, w]`` depth of what is drawn; out: ``uint8 [h, w, 3]``."""
    height, width = nearest.shape
    fx, fy, cx, cy, spacing, least = lens[0], lens[1], lens[2], lens[3], lens[4], lens[5]
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        depth = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + translation[2]
        if depth < least:
            continue
        across = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z + translation[0]
        down = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z + translation[1]
        side = min(max(math.ceil(FILLED * fx * spacing * z / depth), 1), LARGEST_PX)
        left = math.floor(fx * across / depth + cx - 0.5 * side + 0.5)
        top = math.floor(fy * down / depth + cy - 0.5 * side + 0.5)
        color = colors[i]
        for row in range(max(top, 0), min(top + side, height)):
            for column in range(max(left, 0), min(left + side, width)):
                if depth < nearest[row, column]:
                    nearest[row, column] = depth
                    out[row, column, 0] = (color >> 16) & 255
                    out[row, column, 1] = (color >> 8) & 255
                    out[row, column, 2] = color & 255


def compile_flight() -> None:
    """Compile the drawing now (2 s on the first run, then cached on disk) instead of with the first picture."""
    FlyThrough(np.ones((2, 2, 4), np.float32), Camera(2, 2, 1.0, 1.0, 0.5, 0.5), (2, 2)).picture(0.0)
