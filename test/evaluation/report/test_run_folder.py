"""What a run leaves in its folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.evaluation.report.run_folder import RunFolder
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.depth_files import read_depth_png

CAMERA = Camera(6, 4, 5.0, 5.0, 2.5, 1.5)
DEPTH = np.linspace(1, 2, 24, dtype=np.float32).reshape(4, 6)


def test_metric_and_relative_depth_have_different_names(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.store(0, 111, DEPTH, True, CAMERA)
    folder.store(1, 222, DEPTH, False, None)
    folder.store(2, 222, DEPTH, True, None)  # stamped like the one before it: which image it belongs to is not known
    first, second, unknown = folder.stored
    image = np.zeros((4, 6, 3), np.uint8)
    folder.write_pictures([(first, Frame(image, 111)), (second, Frame(image, 222)), (unknown, None)])
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [
        "000000.npz",
        "000000_depth.png",
        "000000_preview.jpg",
        "000001.npz",
        "000001_preview.jpg",
        "000001_relative.png",
        "000002.npz",
        "000002_depth.png",
    ]
    np.testing.assert_allclose(read_depth_png(tmp_path / "frames/000000_depth.png"), DEPTH, atol=0.00051)
    unit = folder.relative_units["000001_relative.png"]
    np.testing.assert_allclose(read_depth_png(tmp_path / "frames/000001_relative.png", unit), DEPTH, rtol=1e-3)
    preview = cv2.imread(str(tmp_path / "frames/000000_preview.jpg"))
    assert preview is not None and preview.shape == (4, 16, 3)


def test_floats_come_back_as_stored(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.store(7, 111, DEPTH, True, CAMERA)
    np.testing.assert_array_equal(folder.stored[0].load(), DEPTH)
    with np.load(tmp_path / "frames/000007.npz", allow_pickle=False) as stored:
        assert (int(stored["stamp_ns"]), float(stored["fx"]), bool(stored["metric"])) == (111, 5.0, True)


def test_an_earlier_run_is_removed_and_nothing_else(tmp_path: Path) -> None:
    RunFolder(tmp_path).store(0, 111, DEPTH, True, CAMERA)
    (tmp_path / "frames" / "notes.txt").write_text("mine")
    RunFolder(tmp_path)
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["notes.txt"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="choose a writable"):
        RunFolder(tmp_path / "out")
