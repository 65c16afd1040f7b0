"""The two files of points that viewers read: PLY, of the valid points, and PCD, organised."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

_COUNT_DIGITS = 20  # room for the number of points in the header of a file that is written piece by piece
_VERTEX = np.dtype([("position", "<f4", 3), ("colour", "u1", 3)])


def valid_points(cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that are not NaN: positions ``float32 [N, 3]`` and colours ``uint8 [N, 3]`` RGB, in row-major order."""
    points = cloud.reshape(-1, 4)
    points = points[np.isfinite(points[:, 2])]
    rgb = np.ascontiguousarray(points[:, 3]).view(np.uint32)
    colors = np.stack(((rgb >> 16) & 255, (rgb >> 8) & 255, rgb & 255), axis=1).astype(np.uint8)
    return np.ascontiguousarray(points[:, :3]), colors


def write_ply(path: Path, cloud: np.ndarray, metric: bool) -> int:
    """Write the valid points of ``float32 [h, w, 4]`` as binary little-endian PLY; returns how many. metric: they are in metres."""
    vertices = _vertices(*valid_points(cloud))
    path.write_bytes(_ply_header(len(vertices), metric) + vertices.tobytes())
    return len(vertices)


def write_ply_parts(path: Path, parts: Iterable[tuple[np.ndarray, np.ndarray]], metric: bool) -> int:
    """Write clouds one after another into one PLY, each taken when the one before is in the file; returns the number of points.

    parts: positions ``float32 [N, 3]`` and colours ``uint8 [N, 3]`` RGB. The file appears whole or not at all.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(_ply_header(0, metric, _COUNT_DIGITS))
            count = 0
            for positions, colors in parts:
                file.write(_vertices(positions, colors).tobytes())
                count += len(positions)
            file.seek(0)
            file.write(_ply_header(count, metric, _COUNT_DIGITS))
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return count


def _vertices(positions: np.ndarray, colors: np.ndarray) -> np.ndarray:
    vertices = np.empty(len(positions), _VERTEX)
    vertices["position"], vertices["colour"] = positions, colors
    return vertices


def _ply_header(count: int, metric: bool, digits: int = 0) -> bytes:
    """digits: with a comment that takes up the room which a count of that many would need, so that it can be written once more."""
    room = f"comment {'.' * (digits - len(str(count)))}\n" if digits else ""
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment {'metres' if metric else 'relative, not metres'}\n{room}"
        f"element vertex {count}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        "end_header\n"
    )
    return header.encode("ascii")


def write_pcd(path: Path, cloud: np.ndarray) -> int:
    """Write all points of ``float32 [h, w, 4]`` as an organised binary PCD, NaN where unknown; returns how many are valid."""
    height, width = cloud.shape[:2]
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        "FIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
        f"WIDTH {width}\nHEIGHT {height}\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {width * height}\nDATA binary\n"
    )
    path.write_bytes(header.encode("ascii") + cloud.astype("<f4", copy=False).tobytes())
    return int(np.isfinite(cloud[..., 2]).sum())
