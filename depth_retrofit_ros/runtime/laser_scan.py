"""A planar laser scan of a band of rows: what a 2-D LiDAR at the camera's place would see, as ``depthimage_to_laserscan`` does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.device.kernel_cache import cached_njit
from depth_retrofit_ros.errors import OutputError

OPTICAL_AXIS = -1


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """row: the band's middle, ``OPTICAL_AXIS`` for that of the camera; height: its rows; range_min, range_max: [m]."""

    row: int = OPTICAL_AXIS
    height: int = 1
    range_min: float = 0.45
    range_max: float = 10.0

    def rows(self, camera: Camera) -> slice:
        """The band, as far as it lies in the image. Raises OutputError where none of it does, or no range is left."""
        if self.range_min >= self.range_max:
            raise OutputError(f"scan_range_min {self.range_min:g} must be below scan_range_max {self.range_max:g}")
        middle = camera.cy if self.row == OPTICAL_AXIS else float(self.row)
        first = math.floor(middle - 0.5 * (self.height - 1) + 0.5)
        rows = slice(max(0, first), min(camera.height, first + self.height))
        if rows.start >= rows.stop:
            raise OutputError(f"the scan's rows from {first} on are outside of the image's {camera.height}: set scan_row")
        return rows


@dataclass(frozen=True, slots=True)
class ScanAngles:
    """Of one beam a column, evenly spaced, counter-clockwise about the vertical axis [rad]: the first is the image's right edge."""

    first: float
    last: float
    increment: float

    @classmethod
    def of(cls, camera: Camera) -> ScanAngles:
        left = math.atan2(camera.cx, camera.fx)
        right = -math.atan2(camera.width - 1 - camera.cx, camera.fx)
        return cls(right, left, (left - right) / max(1, camera.width - 1))


def fill_scan(band: np.ndarray, camera: Camera, settings: ScanSettings, out: np.ndarray) -> None:
    """band: the depth of ``settings.rows``, ``float32 [h, W]`` m, NaN where unknown, inf where there is no surface; out:
    ``float32 [W]`` m, the ranges in the order of ``ScanAngles``.

    A beam is the nearest point in the columns that it covers, by its distance in the horizontal plane. Where none is in range it
    is, by REP-117, −inf for something nearer than ``range_min``, +inf for what is farther than ``range_max``, NaN for the unknown.
    """
    lengths, first, last = _geometry(camera)
    _fill(band, lengths, first, last, np.float32(settings.range_min), np.float32(settings.range_max), out)


@lru_cache(4)
def _geometry(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance in the plane of depth 1 for each column, ``float32 [W]``; first and last column of each beam, ``int64 [W]``.

    A beam covers the columns whose rays are within half an increment of it, and at least the nearest, so that none stays empty
    where columns are farther apart than beams: at the image's middle.
    """
    slopes = camera.ray_slopes()[0].astype(np.float64)
    lengths = np.hypot(1.0, slopes).astype(np.float32)
    angles = ScanAngles.of(camera)
    beams = angles.first + angles.increment * np.arange(camera.width)
    edges = [np.tan(np.clip(beams + share * angles.increment, -1.57, 1.57)) for share in (0.5, -0.5)]
    left, right = (camera.cx - camera.fx * slope for slope in edges)
    first, last = np.ceil(left).astype(np.int64), np.ceil(right).astype(np.int64) - 1
    nearest = np.rint(camera.cx - camera.fx * np.tan(beams)).astype(np.int64)
    first, last = np.minimum(first, nearest), np.maximum(last, nearest)
    return lengths, first.clip(0, camera.width - 1), last.clip(0, camera.width - 1)


@cached_njit(nogil=True)
def _fill(
    band: np.ndarray,
    lengths: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    range_min: float,
    range_max: float,
    out: np.ndarray,
) -> None:
    width = band.shape[1]
    nearest = np.full(width, np.inf, np.float32)  # of those in range
    said = np.zeros(width, np.uint8)  # 1: something is beyond the range, 2: something is before it
    for row in range(band.shape[0]):
        for column in range(width):
            distance = band[row, column] * lengths[column]
            if not distance > np.float32(0.0):  # unknown; written so that NaN is
                continue
            if distance > range_max:
                said[column] |= np.uint8(1)
            elif distance >= range_min:
                nearest[column] = min(nearest[column], distance)
            else:
                said[column] |= np.uint8(2)
    for beam in range(width):
        best, heard = np.float32(np.inf), np.uint8(0)
        for column in range(first[beam], last[beam] + 1):
            best = min(best, nearest[column])
            heard |= said[column]
        if best < np.float32(np.inf):
            out[beam] = best
        elif heard & np.uint8(2):
            out[beam] = np.float32(-np.inf)
        else:
            out[beam] = np.float32(np.inf) if heard else np.float32(np.nan)


def compile_scan() -> None:
    """Compile ``fill_scan`` now instead of with the first image."""
    fill_scan(np.ones((1, 2), np.float32), Camera(2, 1, 1.0, 1.0, 0.5, 0.0), ScanSettings(), np.empty(2, np.float32))
