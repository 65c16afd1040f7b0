"""Where the depth of real frames comes from: a lidar's returns, two cameras, a file of a depth camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.io.photos import read_photo
from test.paths import ROOT
from test.scripts import load_script

real_frames: Any = load_script(ROOT / "benchmarks" / "real_frames.py")

# A lidar half a metre behind the camera: its x is ahead, its y to the left, its z up.
CALIBRATION = """P2: 100 0 50 0 0 100 20 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 -0.5

"""
# Ahead, a metre to the left, behind the first, behind the camera, the car itself, too far.
RETURNS = np.array([[10.5, 0, 0], [10.5, 1, 0], [20.5, 0, 0], [-5, 0, 0], [1.2, 0, 0], [90, 0, 0]], np.float32)


def frames(folder: Path) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Of each pair its picture and its arrays."""
    return {path.stem: (read_photo(path.with_suffix(".png")).image, dict(np.load(path))) for path in sorted(folder.glob("*.npz"))}


def test_returns_of_a_lidar_lie_where_the_camera_sees_them() -> None:
    depth = real_frames.lidar_depth(RETURNS, real_frames.calibration(CALIBRATION), (40, 100))
    known = np.argwhere(np.isfinite(depth)).tolist()
    assert known == [[20, 40], [20, 50]]
    assert depth[20, 40] == depth[20, 50] == pytest.approx(10)


def test_two_cameras_know_the_depth_where_they_agree() -> None:
    rng = np.random.default_rng(3)
    wall = cv2.GaussianBlur(rng.integers(0, 256, (120, 700, 3), np.uint8), (0, 0), 1.2)
    left, right = wall[:, :660].copy(), wall[:, 20:680].copy()
    right[30:60, 300:360] = 128  # a thing that the left camera does not see
    depth = real_frames.stereo_depth(left, right, product=60.0)
    known = np.isfinite(depth)
    assert known[:, 150:290].mean() > 0.9
    assert np.quantile(np.abs(depth[known] - 3.0), 0.98) < 0.05
    assert known[35:55, 330:375].mean() < 0.2


def test_a_data_set_becomes_pairs_of_the_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / "kitti_object_vis/data/object/training"
    for name in ("image_2", "velodyne", "calib"):
        (folder / name).mkdir(parents=True)
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, :50] = (255, 0, 10)
    cv2.imwrite(str(folder / "image_2/000007.png"), image)
    np.column_stack([RETURNS, np.zeros(len(RETURNS))]).astype(np.float32).tofile(folder / "velodyne/000007.bin")
    (folder / "calib/000007.txt").write_text(CALIBRATION)
    office = tmp_path / "tsdf-fusion-python/data"
    office.mkdir(parents=True)
    for name in ("frame-000100", "frame-000150"):
        cv2.imwrite(str(office / f"{name}.color.jpg"), image)
        cv2.imwrite(str(office / f"{name}.depth.png"), np.full((40, 100), 65535 if name.endswith("150") else 2500, np.uint16))

    assert real_frames.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    ((name, (picture, arrays)),) = frames(tmp_path / "out/driving").items()
    assert name == "kitti_object_000007" and np.array_equal(picture, image[..., ::-1])
    assert [float(arrays[key]) for key in ("fx", "fy", "cx", "cy")] == [100, 100, 50, 20]
    assert np.isfinite(arrays["depth"]).sum() == 2
    rooms = frames(tmp_path / "out/rooms")
    assert list(rooms) == ["office_000100"] and bool((rooms["office_000100"][1]["depth"] == 2.5).all())


def test_depth_beyond_what_the_sensor_knows_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), np.array([[0, 1, 10_000, 10_001, 65535]], np.uint16))
    found = real_frames.metres(path, 1000, real_frames.ROOM_M)
    np.testing.assert_array_equal(found, np.array([[np.nan, 0.001, 10, np.nan, np.nan]], np.float32))


def test_without_a_clone_it_says_where_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert real_frames.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: no clone in {tmp_path}: it needs folders as 'real_frames.py --help' names them"
    ]


def test_a_damaged_clone_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "Metric3D/data/kitti_demo/rgb"
    folder.mkdir(parents=True)
    (folder / "0000000005.png").write_bytes(b"no picture")
    assert real_frames.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {folder / '0000000005.png'} is no picture: fetch the clone anew\n"
