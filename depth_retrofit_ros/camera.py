"""Pinhole camera: intrinsics that follow the image when it is resized, and back-projection.

Pixel (0, 0) has its *centre* at image coordinate (0, 0), as in OpenCV and REP-103's optical frame (x right, y down, z forward).
Resizing therefore maps coordinates by ``x' = (x + 0.5) * s - 0.5``, and the principal point with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_retrofit_ros.errors import CameraError

SHORTEST_PX, LONGEST_PX = 1e-4, 1e8  # no camera is beyond these: the number is unset or garbled


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics of a rectified image.

    ``width, height`` in pixels of the image that the intrinsics describe; ``fx, fy, cx, cy`` in the same pixels.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"camera size {self.width}x{self.height} is empty: publish the calibrated width and height")
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(abs(v) <= LONGEST_PX for v in values) or min(self.fx, self.fy) < SHORTEST_PX:  # written so that NaN fails
            raise CameraError(
                f"intrinsics fx, fy, cx, cy = {values} px are not usable: calibrate the camera (fx, fy > 0, all finite)"
            )

    @classmethod
    def from_hfov(cls, width: int, height: int, hfov_deg: float) -> Camera:
        """Square pixels, principal point at the image centre, horizontal field of view ``hfov_deg`` [deg] in (0, 180)."""
        if not 0.0 < hfov_deg < 180.0:
            raise CameraError(f"horizontal field of view {hfov_deg} deg is outside (0, 180)")
        f_px = 0.5 * width / math.tan(math.radians(hfov_deg) / 2)
        return cls(width, height, f_px, f_px, (width - 1) / 2, (height - 1) / 2)

    @property
    def hfov_deg(self) -> float:
        """Horizontal field of view [deg], the principal point taken as centred."""
        return math.degrees(2 * math.atan(0.5 * self.width / self.fx))

    def resized(self, width: int, height: int) -> Camera:
        """The same camera after its image was resized to ``width x height`` (pixel-centre exact)."""
        sx, sy = width / self.width, height / self.height
        return Camera(width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5)

    def strided(self, stride: int) -> Camera:
        """The same camera after keeping every ``stride``-th pixel, the first one included (subsampling, not averaging)."""
        width, height = -(-self.width // stride), -(-self.height // stride)
        return Camera(width, height, self.fx / stride, self.fy / stride, self.cx / stride, self.cy / stride)

    def ray_slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """``x/z`` of every column, float32 [W], and ``y/z`` of every row, float32 [H]."""
        x = (np.arange(self.width, dtype=np.float64) - self.cx) / self.fx
        y = (np.arange(self.height, dtype=np.float64) - self.cy) / self.fy
        return x.astype(np.float32), y.astype(np.float32)
