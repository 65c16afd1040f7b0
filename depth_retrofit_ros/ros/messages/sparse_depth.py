"""Sparse depth messages → pixels of the camera image with known depth. As with images, a message is a claim by a stranger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.io.encodings import DEPTHS, TABLE

if TYPE_CHECKING:
    from sensor_msgs.msg import Image, PointCloud2

MOST_PIXELS = 4096
"""More than these, spread evenly over the message, tell nothing more about scale and shift."""
_MOST_POINTS = 65_536  # that are projected: of a scanner's full turn the camera sees a part
_SAME_VIEW = 0.02  # relative difference of the aspect ratios of two images of one view
_NEAREST_M = 0.05  # nearer points are the robot itself, or noise

_POINT_TYPES = {7: "f4", 8: "f8"}  # PointField.FLOAT32, FLOAT64


class SparseDepth(NamedTuple):
    """Known depths: pixels ``int64 [N]``, flat indices into the camera image; depth ``float64 [N]`` m along the optical axis."""

    pixels: np.ndarray
    depth: np.ndarray


def from_image(message: Image, width: int, height: int) -> SparseDepth:
    """A depth image of any size that shows the view of the ``width x height`` camera image (registered to it).

    16UC1 (mm, 0 unknown) or 32FC1 (m, NaN unknown), REP-118. Raises SparseDepthError.
    """
    depth = _depth_rows(message)
    rows, columns = depth.shape
    if abs(columns * height - rows * width) > _SAME_VIEW * columns * height:
        raise SparseDepthError(
            f"sparse depth of {columns}x{rows} cannot show the view of a {width}x{height} image: register it to the image"
        )
    stride = max(1, int(np.sqrt(depth.size / (4 * MOST_PIXELS))))  # about four times as many, of which many may be unknown
    v, u = np.mgrid[stride // 2 : rows : stride, stride // 2 : columns : stride]
    z = depth[v, u] * DEPTHS[message.encoding]
    known = np.isfinite(z) & (z > _NEAREST_M)
    v, u, z = v[known], u[known], z[known].astype(np.float64)
    # The pixel of the camera image that holds the centre of the depth pixel.
    x = ((u + 0.5) * (width / columns)).astype(np.int64)
    y = ((v + 0.5) * (height / rows)).astype(np.int64)
    return _thinned(y * width + x, z)


def from_points(message: PointCloud2, camera: Camera, pose: Sequence[float]) -> SparseDepth:
    """Points, projected into the image of ``camera``.

    pose: of the points' frame in the optical frame, x y z [m] and a unit quaternion qx qy qz qw. Raises SparseDepthError.
    """
    points = _points(message)
    with np.errstate(all="ignore"):  # whatever the numbers are, only points in front of the camera and in view are kept
        xyz = points @ _rotation(pose[3:]).T + np.asarray(pose[:3])
        z = xyz[:, 2]
        u, v = camera.fx * xyz[:, 0] / z + camera.cx, camera.fy * xyz[:, 1] / z + camera.cy
        seen = np.isfinite(z) & (z > _NEAREST_M) & (u > -0.5) & (u < camera.width - 0.5) & (v > -0.5) & (v < camera.height - 0.5)
    x, y = np.rint(u[seen]).astype(np.int64), np.rint(v[seen]).astype(np.int64)
    return _thinned(y * camera.width + x, z[seen])


def _thinned(pixels: np.ndarray, depth: np.ndarray) -> SparseDepth:
    step = max(1, -(-len(pixels) // MOST_PIXELS))
    return SparseDepth(pixels[::step], depth[::step])


def _depth_rows(message: Image) -> np.ndarray:
    """The raw values [H, W] of a depth image, a view of its memory."""
    if message.encoding not in DEPTHS:
        raise SparseDepthError(
            f"sparse depth encoding {message.encoding[:40]!r} is not supported: publish one of {', '.join(DEPTHS)}"
        )
    dtype = TABLE[message.encoding].dtype(message.is_bigendian)
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0 or step < width * dtype.itemsize or len(message.data) != height * step:
        raise SparseDepthError(
            f"sparse depth of {width}x{height} {message.encoding} with step {step} does not fit its {len(message.data)} bytes: "
            "truncated or mislabelled by its publisher"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, : width * dtype.itemsize]
    return np.ascontiguousarray(rows).view(dtype)


def _points(message: PointCloud2) -> np.ndarray:
    """``float64 [N, 3]``, at most ``_MOST_POINTS`` of them, spread evenly."""
    height, width, step, row_step = message.height, message.width, message.point_step, message.row_step
    if row_step < width * step or len(message.data) != height * row_step:
        raise SparseDepthError(
            f"sparse points of {width}x{height} with steps {step} and {row_step} do not fit their {len(message.data)} bytes: "
            "truncated or mislabelled by their publisher"
        )
    if height * width == 0:
        return np.empty((0, 3))
    order = ">" if message.is_bigendian else "<"
    fields = {field.name: field for field in message.fields if field.name in ("x", "y", "z")}
    formats = [_POINT_TYPES.get(fields[name].datatype, "") if name in fields else "" for name in "xyz"]
    if not all(formats) or any(fields[n].offset + int(f[1]) > step for n, f in zip("xyz", formats, strict=True)):
        raise SparseDepthError(
            "sparse points need the float fields x, y, z within each point: publish those of a LiDAR or depth camera"
        )
    record = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": [order + f for f in formats],
            "offsets": [fields[n].offset for n in "xyz"],
            "itemsize": step,
        }
    )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, row_step)[:, : width * step]
    flat = np.ascontiguousarray(rows).reshape(-1).view(record)
    flat = flat[:: -(-len(flat) // _MOST_POINTS)]
    with np.errstate(invalid="ignore"):  # signalling NaN
        return np.stack([flat[name].astype(np.float64) for name in "xyz"], axis=1)


def _rotation(quaternion: Sequence[float]) -> np.ndarray:
    """The matrix [3, 3] of a quaternion qx qy qz qw, which need not be exactly of unit length."""
    x, y, z, w = np.asarray(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
