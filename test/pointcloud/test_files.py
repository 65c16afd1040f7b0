"""The files hold the points, all of them or the valid ones, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.pointcloud.files import valid_points, write_pcd, write_ply, write_ply_parts
from depth_retrofit_ros.pointcloud.organized import make_cloud
from test.pointcloud.test_organized import scene


@pytest.mark.parametrize(("metric", "unit"), [(True, "metres"), (False, "relative, not metres")])
def test_ply_holds_the_valid_points_and_their_colours_and_says_their_unit(tmp_path: Path, metric: bool, unit: str) -> None:
    depth, image, camera = scene(20, 30)
    cloud = make_cloud(depth, image, camera)
    count = write_ply(tmp_path / "cloud.ply", cloud, metric)
    header, body = (tmp_path / "cloud.ply").read_bytes().split(b"end_header\n", 1)
    assert header.decode().splitlines() == [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {unit}",
        f"element vertex {count}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {color}" for color in ("red", "green", "blue")),
    ]
    assert len(body) == 15 * count
    first = np.argwhere(np.isfinite(cloud[..., 2]))[0]
    np.testing.assert_array_equal(np.frombuffer(body[:12], "<f4"), cloud[tuple(first)][:3])
    np.testing.assert_array_equal(np.frombuffer(body[12:15], np.uint8), image[tuple(first)])
    valid = np.isfinite(depth) & (depth > 0)
    assert count == valid.sum()
    np.testing.assert_array_equal(valid_points(cloud)[1], image[valid])


def test_pcd_is_organised_and_keeps_every_bit(tmp_path: Path) -> None:
    depth, image, camera = scene(9, 13)
    cloud = make_cloud(depth, image, camera)
    count = write_pcd(tmp_path / "cloud.pcd", cloud)
    header, body = (tmp_path / "cloud.pcd").read_bytes().split(b"DATA binary\n", 1)
    fields = dict(line.split(" ", 1) for line in header.decode().splitlines()[1:])
    assert (fields["WIDTH"], fields["HEIGHT"], fields["POINTS"], fields["FIELDS"]) == ("13", "9", "117", "x y z rgb")
    np.testing.assert_array_equal(np.frombuffer(body, np.uint32), cloud.view(np.uint32).ravel())
    assert count == (np.isfinite(depth) & (depth > 0)).sum()


def test_a_cloud_written_in_parts_is_the_one_written_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [(rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, 256, (n, 3)).astype(np.uint8)) for n in (5, 0, 1200)]
    assert write_ply_parts(tmp_path / "parts.ply", iter(parts), True) == 1205
    positions, colors = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert write_ply_parts(tmp_path / "whole.ply", [(positions, colors)], True) == 1205
    assert (tmp_path / "parts.ply").read_bytes() == (tmp_path / "whole.ply").read_bytes()


def test_a_cloud_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield np.zeros((3, 3), np.float32), np.zeros((3, 3), np.uint8)
        raise ValueError("the third view")

    with pytest.raises(ValueError, match="the third view"):
        write_ply_parts(tmp_path / "cloud.ply", broken(), False)
    assert list(tmp_path.iterdir()) == []
