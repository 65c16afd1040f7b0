"""Sparse depth messages → pixels of the camera image with known depth. As with images, a message is a claim by a stranger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.frame import SparseDepth
from depth_retrofit_ros.io.encodings import DEPTHS, TABLE
from depth_retrofit_ros.lens import Optics, RayTable, Rectification
from depth_retrofit_ros.pointcloud.poses import rotation_matrix
from depth_retrofit_ros.ros.messages.calibration import same_view

if TYPE_CHECKING:
    from sensor_msgs.msg import Image, PointCloud2

MOST_PIXELS = 4096
"""More than these, spread evenly over the message, tell nothing more about scale and shift."""
_MOST_POINTS = 65_536  # that are projected at first: of a scanner's full turn the camera sees a part
_NEAREST_M = 0.05  # nearer points are the robot itself, or noise

_POINT_TYPES = {7: "f4", 8: "f8"}  # PointField.FLOAT32, FLOAT64


def from_image(message: Image, width: int, height: int) -> SparseDepth:
    """A depth image of any size that shows the view of the ``width x height`` camera image (registered to it).

    16UC1 (mm, 0 unknown) or 32FC1 (m, NaN unknown), REP-118. Raises SparseDepthError.
    """
    depth = _depth_rows(message)
    rows, columns = depth.shape
    if not same_view((columns, rows), (width, height)):
        raise SparseDepthError(
            f"sparse depth of {columns}x{rows} cannot show the view of a {width}x{height} image: register it to the image"
        )
    known = np.flatnonzero(_known(depth, message.encoding))  # before they are thinned: few pixels of a large image may be known
    known = _thinned(known, MOST_PIXELS)
    v, u = np.divmod(known, columns)
    z = depth[v, u].astype(np.float64) * DEPTHS[message.encoding]
    # The pixel of the camera image that holds the centre of the depth pixel.
    x = ((u + 0.5) * (width / columns)).astype(np.int64)
    y = ((v + 0.5) * (height / rows)).astype(np.int64)
    return SparseDepth(y * width + x, z)


def from_points(message: PointCloud2, camera: Camera, pose: Sequence[float], optics: Optics | None = None) -> SparseDepth:
    """Points, projected into the image of ``camera``.

    pose: of the points' frame in the optical frame, x y z [m] and a unit quaternion qx qy qz qw. optics: see ``Frame``. Raises
    SparseDepthError.
    """
    points = _points(message)
    points = points[np.isfinite(points).all(axis=1)]  # before they are thinned: most of an organised cloud may be unknown
    few = _thinned(points, _MOST_POINTS)
    seen = _projected(few, camera, pose, optics)
    if len(seen.depth) < MOST_PIXELS and len(few) < len(points):  # a lens that sees little of a scanner's full turn
        seen = _projected(points, camera, pose, optics)
    kept = _thinned(np.arange(len(seen.depth)), MOST_PIXELS)
    return SparseDepth(seen.pixels[kept], seen.depth[kept])


def rectified(sparse: SparseDepth, optics: Optics | None) -> SparseDepth:
    """Of pixels of the image as it came, in the image that was made of it; what that does not show is left out."""
    if not isinstance(optics, Rectification):
        return sparse
    rows, columns = np.divmod(sparse.pixels, optics.lens.camera.width)
    places, depth = optics.pixels(np.column_stack((columns, rows)).astype(np.float64), sparse.depth)
    return _in_view(places[:, 0], places[:, 1], depth, optics.camera)


def _projected(points: np.ndarray, camera: Camera, pose: Sequence[float], optics: Optics | None) -> SparseDepth:
    """Those of the points ``float32|64 [N, 3]`` that the camera sees."""
    with np.errstate(all="ignore"):  # whatever the numbers are, only points in front of the camera and in view are kept
        xyz = points.astype(np.float64) @ rotation_matrix(pose[3:]).T + np.asarray(pose[:3])
        if isinstance(optics, RayTable):
            u, v = optics.lens.project(xyz).T
            return _in_view(u, v, xyz[:, 2], camera)
        if optics is not None:
            xyz = xyz @ optics.rotation.T
        z = xyz[:, 2]
        return _in_view(camera.fx * xyz[:, 0] / z + camera.cx, camera.fy * xyz[:, 1] / z + camera.cy, z, camera)


def _in_view(u: np.ndarray, v: np.ndarray, z: np.ndarray, camera: Camera) -> SparseDepth:
    """Those of the places (u, v) [px] with depth z that are in front of the camera and in its image."""
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(z) & (z > _NEAREST_M) & (u > -0.5) & (u < camera.width - 0.5) & (v > -0.5) & (v < camera.height - 0.5)
    x, y = np.rint(u[seen]).astype(np.int64), np.rint(v[seen]).astype(np.int64)
    return SparseDepth(y * camera.width + x, z[seen])


def _known(depth: np.ndarray, encoding: str) -> np.ndarray:
    """Where raw depth ``[H, W]`` is known and no noise, bool [H, W]. NaN compares false, infinity is no depth."""
    nearest = _NEAREST_M / DEPTHS[encoding]
    with np.errstate(invalid="ignore"):  # signalling NaN
        return (depth > nearest) & (depth < np.inf) if depth.dtype.kind == "f" else depth > nearest


def _thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of the rows, one from each of as many equal parts.

    Where in its part is drawn, always the same way: a fixed stride would meet an organised image in a few of its columns.
    """
    if len(rows) <= most:
        return rows
    parts = np.arange(most) + np.random.default_rng(0).random(most)
    return rows[(parts * (len(rows) / most)).astype(np.int64)]


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
    """x, y, z as the message has them, ``float32`` or ``float64 [N, 3]``."""
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
    with np.errstate(invalid="ignore"):  # signalling NaN
        return np.stack([flat[name] for name in "xyz"], axis=1)
