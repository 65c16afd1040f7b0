"""The two files of points that viewers read: PLY, of the valid points, and PCD, organised."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def valid_points(cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that are not NaN: positions ``float32 [N, 3]`` and colours ``uint8 [N, 3]`` RGB, in row-major order."""
    points = cloud.reshape(-1, 4)
    points = points[np.isfinite(points[:, 2])]
    rgb = np.ascontiguousarray(points[:, 3]).view(np.uint32)
    colors = np.stack(((rgb >> 16) & 255, (rgb >> 8) & 255, rgb & 255), axis=1).astype(np.uint8)
    return np.ascontiguousarray(points[:, :3]), colors


def write_ply(path: Path, cloud: np.ndarray, metric: bool) -> int:
    """Write the valid points of ``float32 [h, w, 4]`` as binary little-endian PLY; returns how many. metric: they are in metres."""
    positions, colors = valid_points(cloud)
    vertices = np.empty(len(positions), dtype=[("position", "<f4", 3), ("colour", "u1", 3)])
    vertices["position"], vertices["colour"] = positions, colors
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment {'metres' if metric else 'relative, not metres'}\n"
        f"element vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        "end_header\n"
    )
    path.write_bytes(header.encode("ascii") + vertices.tobytes())
    return len(vertices)


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
