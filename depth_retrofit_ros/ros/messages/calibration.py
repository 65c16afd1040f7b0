"""``sensor_msgs/CameraInfo`` ↔ ``Camera``: which intrinsics hold for an image, and what to publish beside its depth.

The pixel-centre convention is that of ``camera.py``: an image scaled by s has ``c' = (c + 0.5) * s - 0.5``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


def camera_from_info(info: CameraInfo, width: int, height: int) -> Camera | None:
    """Intrinsics of a rectified image of ``width x height``: P, or K where P is zero, None where both are (not calibrated).

    A region of interest shifts the principal point; any other difference in size is taken as scaling of that region, which covers
    binning as well as a driver or a resize node that changed the image alone. Raises CameraError where the numbers cannot be used.
    """
    matrix = _projection(info)
    if matrix is None:
        return None
    x_offset, y_offset, region_width, region_height = _region(info)
    fx, fy, cx, cy = (float(matrix[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    region = Camera(region_width, region_height, fx, fy, cx - x_offset, cy - y_offset)
    return region.resized(width, height)


def info_for_image(info: CameraInfo, camera: Camera, header: object) -> CameraInfo:
    """The info of a depth image that covers the same view as ``camera``: K, P and the size scaled, D, R and the model kept.

    ``camera`` must come from ``camera_from_info`` for this ``info``; ``header`` is the image's and is used as it is. The stereo
    terms Tx, Ty of P scale with fx, fy. Where P was zero it becomes [K | 0], which is what the depth was made with. Binning and
    region of interest are already in the numbers, hence cleared.
    """
    scaled = copy.deepcopy(info)
    scaled.header = header
    x_offset, y_offset, region_width, region_height = _region(info)
    sx, sy = camera.width / region_width, camera.height / region_height
    scaled.width, scaled.height = camera.width, camera.height
    scaled.k = _rescale(np.array(info.k).reshape(3, 3), x_offset, y_offset, sx, sy).ravel()
    if np.any(info.p):
        scaled.p = _rescale(np.array(info.p).reshape(3, 4), x_offset, y_offset, sx, sy).ravel()
    else:
        scaled.p = np.hstack((scaled.k.reshape(3, 3), np.zeros((3, 1)))).ravel()
    scaled.binning_x = scaled.binning_y = 0
    scaled.roi.x_offset = scaled.roi.y_offset = scaled.roi.width = scaled.roi.height = 0
    scaled.roi.do_rectify = False
    return scaled


def _projection(info: CameraInfo) -> np.ndarray | None:
    """P [3, 4], or K [3, 3] where P is zero; None where both are. NaN counts as a value: it is for ``Camera`` to refuse."""
    for matrix in (np.array(info.p).reshape(3, 4), np.array(info.k).reshape(3, 3)):
        if np.any(matrix):
            return matrix
    return None


def _region(info: CameraInfo) -> tuple[int, int, int, int]:
    """(x offset, y offset, width, height) of the part of the sensor that the image shows, in calibrated pixels."""
    roi = info.roi
    if roi.width == 0 or roi.height == 0:
        return 0, 0, info.width, info.height
    if roi.x_offset + roi.width > info.width or roi.y_offset + roi.height > info.height:
        raise CameraError(
            f"camera_info's region of interest {roi.width}x{roi.height}+{roi.x_offset}+{roi.y_offset} exceeds its "
            f"{info.width}x{info.height} image: fix the driver's camera_info"
        )
    return roi.x_offset, roi.y_offset, roi.width, roi.height


def _rescale(matrix: np.ndarray, x_offset: int, y_offset: int, sx: float, sy: float) -> np.ndarray:
    """K or P after cropping at the offset, then scaling: all terms of a row follow, the centre with the pixels' corners."""
    scaled: np.ndarray = matrix.copy()
    if not np.any(matrix):
        return scaled
    scaled[0] *= sx
    scaled[1] *= sy
    scaled[0, 2] = (matrix[0, 2] - x_offset + 0.5) * sx - 0.5
    scaled[1, 2] = (matrix[1, 2] - y_offset + 0.5) * sy - 0.5
    return scaled
