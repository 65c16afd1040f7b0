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
NARROWEST_DEG, WIDEST_DEG = 5.0, 175.0  # a long telephoto lens, a rectified fisheye: of the wider side's field of view
_WIDEST_PIXEL = 2.2  # fy / fx or its inverse; anamorphic lenses have 2
_ROUNDED = 1e-3  # [deg], of a field of view that was given in round numbers
_IN_PIXELS = "give fx, fy, cx, cy in pixels of the calibrated image"
_OFF_CENTER = (
    0.25  # of the image's size, how far outside of it the principal point may be: an image may be a crop that nobody stated
)


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

    @property
    def vfov_deg(self) -> float:
        """Vertical field of view [deg], the principal point taken as centred."""
        return math.degrees(2 * math.atan(0.5 * self.height / self.fy))

    def require_plausible(self) -> None:
        """Raises CameraError, one line with value and remedy, where no real camera has such intrinsics for its whole image.

        They are then in another unit (normalised, millimetres), unset, or of another image. A crop's may look so, too, where it is
        far from the center: judge the camera before it is cropped.
        """
        for name, center, size in (("cx", self.cx, self.width), ("cy", self.cy, self.height)):
            if abs(center) <= 1 < size:
                raise CameraError(
                    f"{name} = {center:g} px, the principal point on the image's edge, is unset or normalised: {_IN_PIXELS}"
                )
        wider_deg = max(self.hfov_deg, self.vfov_deg)
        if not NARROWEST_DEG - _ROUNDED <= wider_deg <= WIDEST_DEG + _ROUNDED:
            raise CameraError(
                f"fx, fy = {self.fx:g}, {self.fy:g} px mean a field of view of {self.hfov_deg:.1f} x {self.vfov_deg:.1f} deg in "
                f"{self.width}x{self.height} pixels, outside {NARROWEST_DEG:g} to {WIDEST_DEG:g} deg: {_IN_PIXELS}"
            )
        if max(self.fx / self.fy, self.fy / self.fx) > _WIDEST_PIXEL:
            raise CameraError(
                f"fx, fy = {self.fx:g}, {self.fy:g} px differ by more than a factor of {_WIDEST_PIXEL:g}: {_IN_PIXELS}"
            )
        for name, center, size in (("cx", self.cx, self.width), ("cy", self.cy, self.height)):
            if not -_OFF_CENTER * size <= center <= (1 + _OFF_CENTER) * size:
                raise CameraError(f"{name} = {center:g} px is far outside of the {self.width}x{self.height} image: {_IN_PIXELS}")

    def resized(self, width: int, height: int) -> Camera:
        """The same camera after its image was resized to ``width x height`` (pixel-centre exact)."""
        sx, sy = width / self.width, height / self.height
        return type(self)(width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5)

    def strided(self, stride: int) -> Camera:
        """The same camera after keeping every ``stride``-th pixel, the first one included (subsampling, not averaging)."""
        width, height = -(-self.width // stride), -(-self.height // stride)
        return type(self)(width, height, self.fx / stride, self.fy / stride, self.cx / stride, self.cy / stride)

    def ray_slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """``x/z`` of every column, float32 [W], and ``y/z`` of every row, float32 [H]."""
        x = (np.arange(self.width, dtype=np.float64) - self.cx) / self.fx
        y = (np.arange(self.height, dtype=np.float64) - self.cy) / self.fy
        return x.astype(np.float32), y.astype(np.float32)
