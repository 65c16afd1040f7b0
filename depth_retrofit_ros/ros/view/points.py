"""A cloud message as a page draws it: no more points than it may have, their colors, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import PointCloud2

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.pointcloud.organized import POINT_STEP

_SHARE = 98  # percent of the points, which decide how far the cloud reaches: a few that fly do not


@dataclass(frozen=True, slots=True)
class Points:
    """positions: ``float32 [N, 3]`` in the image's optical frame, all of them finite; colors: ``uint8 [N, 3]`` RGB."""

    positions: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a cloud lies. distance: median along the optical axis; slopes: how far it reaches to the side and up, per unit of
    distance; spacing: of neighboring points at that distance. In the unit of the points."""

    distance: float
    slopes: tuple[float, float]
    spacing: float


def thinned(cloud: PointCloud2, at_most: int) -> Points:
    """Of an organized cloud a regular grid, of another evenly many in its order: ``at_most`` points before unknown ones are left
    out. Raises ImageError for what is no cloud of the node."""
    fields = [(field.name, field.offset) for field in cloud.fields]
    if cloud.point_step != POINT_STEP or len(cloud.data) != cloud.height * cloud.width * POINT_STEP:
        raise ImageError(f"a cloud of {cloud.width}x{cloud.height} points of {cloud.point_step} bytes does not fit its data")
    if fields[:3] != [("x", 0), ("y", 4), ("z", 8)] or len(fields) != 4 or fields[3][1] != 12 or cloud.is_bigendian:
        raise ImageError(f"a cloud of the fields {', '.join(name for name, _ in fields)[:60]!r} is none of the depth node's")
    rows, columns = _grid(cloud.height, cloud.width, at_most)
    points = np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)[np.ix_(rows, columns)].reshape(-1, 4)
    points = points[np.isfinite(points[:, :3]).all(axis=1)]
    return Points(np.ascontiguousarray(points[:, :3]), _colors(points[:, 3], fields[3][0]))


def extent(points: Points) -> Extent | None:
    """None of a cloud without points in front of the camera."""
    positions = points.positions[points.positions[:, 2] > 0]
    if len(positions) == 0:
        return None
    distance = float(np.median(positions[:, 2]))
    x, y = (float(np.percentile(np.abs(positions[:, axis] / positions[:, 2]), _SHARE)) for axis in (0, 1))
    spacing = distance * 2 * float(np.sqrt(max(x, 1e-3) * max(y, 1e-3) / len(positions)))
    return Extent(distance, (x, y), spacing)


def _grid(height: int, width: int, at_most: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that are kept, evenly and in the cloud's own proportions."""
    if height * width <= at_most:
        return np.arange(height), np.arange(width)
    rows = max(1, min(height, int((at_most * height / width) ** 0.5)))
    columns = max(1, min(width, at_most // rows))
    return _evenly(height, rows), _evenly(width, columns)


def _evenly(count: int, kept: int) -> np.ndarray:
    """``kept`` of the indices below ``count``."""
    return np.arange(kept) * count // kept


def _colors(values: np.ndarray, field: str) -> np.ndarray:
    """values: the fourth of each point, ``float32 [N]``: 0x00RRGGBB in its bits, or in a field ``intensity`` a gray to 255."""
    if field == "intensity":
        gray = np.clip(np.nan_to_num(values), 0, 255).astype(np.uint8)
        return np.repeat(gray[:, None], 3, axis=1)
    packed = np.ascontiguousarray(values).view(np.uint32)
    return np.stack([(packed >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=1)
