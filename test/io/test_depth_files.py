"""What is written can be read back, and nothing is silently clipped."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.io.depth_files import (
    make_folder,
    read_depth_png,
    side_by_side,
    write_depth_npy,
    write_depth_npz,
    write_depth_png,
    write_image,
)


def test_metric_png_is_millimetres(tmp_path: Path) -> None:
    depth = np.array([[0.5004, 65.535, 65.6], [np.nan, np.inf, -1.0]], np.float32)
    told = write_depth_png(tmp_path / "d.png", depth, metric=True)
    counts = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    assert counts is not None
    assert counts.dtype == np.uint16 and counts.tolist() == [[500, 65535, 0], [0, 0, 0]]
    assert (told.unit, told.beyond) == (0.001, 1)
    np.testing.assert_allclose(read_depth_png(tmp_path / "d.png"), [[0.5, 65.535, np.nan], [np.nan, np.nan, np.nan]], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 3e5])
def test_relative_png_resolves_any_scale(tmp_path: Path, scale: float) -> None:
    depth = (scale * np.linspace(0.5, 4.0, 500, dtype=np.float32)).reshape(20, 25)
    told = write_depth_png(tmp_path / "d.png", depth, metric=False)
    assert told.beyond == 0
    np.testing.assert_allclose(read_depth_png(tmp_path / "d.png", told.unit), depth, rtol=1e-3)


def test_relative_png_reaches_the_sky(tmp_path: Path) -> None:
    depth = np.geomspace(0.5, 200.0, 500, dtype=np.float32).reshape(20, 25)
    depth[0, 0] = 100 * np.median(depth)
    told = write_depth_png(tmp_path / "d.png", depth, metric=False)
    assert told.beyond == 0
    np.testing.assert_allclose(read_depth_png(tmp_path / "d.png", told.unit), depth, rtol=0.05)
    depth[0, 0] = 1e6 * np.median(depth)
    assert write_depth_png(tmp_path / "d.png", depth, metric=False).beyond == 1  # else nothing else would be resolved


def test_png_of_nothing_known(tmp_path: Path) -> None:
    told = write_depth_png(tmp_path / "d.png", np.full((3, 4), np.nan, np.float32), metric=False)
    assert told.beyond == 0 and np.isnan(read_depth_png(tmp_path / "d.png")).all()


def test_float_files(tmp_path: Path) -> None:
    depth = np.array([[1.25, np.nan]], np.float32)
    write_depth_npy(tmp_path / "d.npy", depth)
    np.testing.assert_array_equal(np.load(tmp_path / "d.npy"), depth)
    write_depth_npz(tmp_path / "d.npz", depth, 123, True, Camera(2, 1, 3.0, 4.0, 0.5, 0.0))
    with np.load(tmp_path / "d.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["depth"], depth)
        assert (int(stored["stamp_ns"]), bool(stored["metric"])) == (123, True)
        assert [float(stored[name]) for name in ("fx", "fy", "cx", "cy")] == [3.0, 4.0, 0.5, 0.0]
    write_depth_npz(tmp_path / "e.npz", depth, 123, False, None)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as stored:
        assert sorted(stored.files) == ["depth", "metric", "stamp_ns"]


def test_colours_survive(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    write_image(tmp_path / "red.png", image)
    pixels = cv2.imread(str(tmp_path / "red.png"))
    assert pixels is not None and pixels[0, 0].tolist() == [0, 0, 200]  # OpenCV reads BGR


def test_side_by_side_shrinks_only() -> None:
    left, right = np.zeros((60, 100, 3), np.uint8), np.full((60, 100, 3), 90, np.uint8)
    assert side_by_side([("a", left), ("b", right)], panel_width=50).shape == (30, 50 + 4 + 50, 3)
    whole = side_by_side([("", left), ("", right)], panel_width=500)
    assert whole.shape == (60, 204, 3)
    np.testing.assert_array_equal(whole[:, 104:], right)
    assert left.max() == 0  # titles are drawn on a copy
    assert side_by_side([("title", left)], panel_width=100).max() > 200


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        make_folder(tmp_path / "file" / "folder")
    with pytest.raises(OutputError, match="cannot write"):
        write_depth_npy(tmp_path / "absent" / "d.npy", np.ones((2, 2), np.float32))
    with pytest.raises(OutputError, match="not a 16-bit"):
        read_depth_png(tmp_path / "file")
