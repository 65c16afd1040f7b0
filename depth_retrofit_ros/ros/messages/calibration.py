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

_SAME_VIEW = 0.02  # relative difference of two aspect ratios: codecs pad and drivers round


def camera_from_info(info: CameraInfo, width: int, height: int) -> Camera | None:
    """``intrinsics``, judged: raises CameraError also where no real camera has them, or not for an image of this shape."""
    camera = intrinsics(info, width, height)
    if camera is not None:
        _calibrated(info).require_plausible()
        _require_same_view(info, width, height)
    return camera


def intrinsics(info: CameraInfo, width: int, height: int) -> Camera | None:
    """Of a rectified image of ``width x height``: P, or K where P has no focal length, None where neither has (not calibrated).

    A region of interest shifts the principal point; any other difference in size is taken as scaling of that region, which covers
    binning as well as a driver or a resize node that changed the image alone. Raises CameraError where the numbers cannot be used.
    """
    if _matrix(info) is None:
        return None
    x_offset, y_offset, region_width, region_height = _region(info)
    whole = _calibrated(info)
    region = Camera(region_width, region_height, whole.fx, whole.fy, whole.cx - x_offset, whole.cy - y_offset)
    return region.resized(width, height)


def raw_intrinsics(info: CameraInfo, width: int, height: int) -> Camera:
    """Of an image of ``width x height`` as the sensor takes it: K, cropped and scaled as ``intrinsics`` does it with P. Raises
    CameraError, also where there is none."""
    k = np.array(info.k).reshape(3, 3)
    if not has_focal_length(k):
        raise CameraError("camera_info has distortion and no K, which images are rectified by: publish the whole calibration")
    fx, fy, cx, cy = map(float, _numbers(k))
    x_offset, y_offset, region_width, region_height = _region(info)
    return Camera(region_width, region_height, fx, fy, cx - x_offset, cy - y_offset).resized(width, height)


def info_for_image(info: CameraInfo, camera: Camera, header: object) -> CameraInfo:
    """The info of a depth image that covers the same view as ``camera``: K, P and the size scaled, D, R and the model kept.

    ``camera`` must come from ``intrinsics`` for this ``info``; ``header`` is the image's and is used as it is. The stereo
    terms Tx, Ty of P scale with fx, fy. Where K stood in for P, P becomes [K | 0], which is what the depth was made with. Binning
    and region of interest are already in the numbers, hence cleared.
    """
    scaled = copy.deepcopy(info)
    scaled.header = header
    x_offset, y_offset, region_width, region_height = _region(info)
    sx, sy = camera.width / region_width, camera.height / region_height
    scaled.width, scaled.height = camera.width, camera.height
    scaled.k = _rescale(np.array(info.k).reshape(3, 3), x_offset, y_offset, sx, sy).ravel()
    if has_focal_length(_p(info)):
        scaled.p = _rescale(_p(info), x_offset, y_offset, sx, sy).ravel()
    else:
        scaled.p = np.hstack((scaled.k.reshape(3, 3), np.zeros((3, 1)))).ravel()
    scaled.binning_x = scaled.binning_y = 0
    scaled.roi.x_offset = scaled.roi.y_offset = scaled.roi.width = scaled.roi.height = 0
    scaled.roi.do_rectify = False
    return scaled


def _p(info: CameraInfo) -> np.ndarray:
    return np.array(info.p).reshape(3, 4)


def _matrix(info: CameraInfo) -> np.ndarray | None:
    """P [3, 4], or K [3, 3] where P has no focal length; None where neither has. NaN in both is for ``Camera`` to refuse."""
    p, k = _p(info), np.array(info.k).reshape(3, 3)
    for matrix in (p, k):
        if has_focal_length(matrix):
            return matrix
    return next((matrix for matrix in (p, k) if np.isnan(_numbers(matrix)).any()), None)


def _numbers(matrix: np.ndarray) -> np.ndarray:
    """fx, fy, cx, cy of K or P."""
    return matrix[[0, 1, 0, 1], [0, 1, 2, 2]]


def has_focal_length(matrix: np.ndarray) -> bool:
    """Whether K or P was filled in, whatever with: without a calibration it is zero or NaN, sometimes but for its last row."""
    numbers = _numbers(matrix)
    return bool((numbers[:2] != 0).all() and not np.isnan(numbers).any())


def _calibrated(info: CameraInfo) -> Camera:
    """The camera of the whole calibrated image, of which a region may have been cropped. Raises CameraError."""
    matrix = _matrix(info)
    assert matrix is not None
    fx, fy, cx, cy = map(float, _numbers(matrix))
    return Camera(info.width, info.height, fx, fy, cx, cy)


def _require_same_view(info: CameraInfo, width: int, height: int) -> None:
    """Raises CameraError where the image has not the shape of what was calibrated.

    Some drivers state their binning and give the size before it, others the size after it: either shape will do.
    """
    _, _, region_width, region_height = _region(info)
    binned = region_width / max(info.binning_x, 1), region_height / max(info.binning_y, 1)
    if not any(same_view((width, height), shape) for shape in ((region_width, region_height), binned)):
        raise CameraError(
            f"camera_info of {region_width}x{region_height} is not of the {width}x{height} image, whose aspect ratio is another: "
            "publish that of this image, with its roi and binning where it was cropped or binned"
        )


def same_view(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether images of these sizes can show one view: one is the other, scaled, up to 2 % or a pixel of the smaller."""
    (width, height), (w, h) = sorted((one, other))
    return abs(width - height * w / h) <= max(_SAME_VIEW * width, 1) or abs(height - width * h / w) <= max(_SAME_VIEW * height, 1)


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
