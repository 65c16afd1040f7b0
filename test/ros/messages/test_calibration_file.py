"""camera_info from a calibration file, as ROS's own tools write it, or from a field of view."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.ros.messages.calibration import camera_from_info
from depth_retrofit_ros.ros.messages.calibration_file import read_calibration
from depth_retrofit_ros.ros.node.camera_main import info_of

WRITTEN = """image_width: 640
image_height: 480
camera_name: narrow
camera_matrix: {rows: 3, cols: 3, data: [500.0, 0, 320.0, 0, 510.0, 240.0, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [490.0, 0, 321.0, 0, 0, 505.0, 241.0, 0, 0, 0, 1, 0]}
"""


def written(path: Path, text: str = WRITTEN) -> Path:
    path.write_text(text)
    return path


def test_a_calibration_is_read_as_a_driver_does(tmp_path: Path) -> None:
    info = read_calibration(written(tmp_path / "a.yaml"))
    assert (info.width, info.height, info.distortion_model) == (640, 480, "plumb_bob")
    assert list(info.d) == [0.1, -0.2, 0.001, 0.002, 0.0]
    assert (info.k[0], info.k[5], info.p[0], info.p[6], info.r[4]) == (500.0, 240.0, 490.0, 241.0, 1.0)


def test_it_holds_for_scaled_images_and_no_other_shape(tmp_path: Path) -> None:
    made = info_of(written(tmp_path / "a.yaml"))
    camera = camera_from_info(made(1280, 960), 1280, 960)
    assert camera is not None and camera.fx == pytest.approx(980.0)
    with pytest.raises(CameraError, match="aspect ratio is another"):
        made(1280, 720)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "is no camera calibration"),
        ("a: [", "is no YAML"),
        ("image_width: 640\nimage_height: 480\n", "it needs image_width"),
        (WRITTEN.replace("[500.0, 0, ", "["), "camera_matrix has 7 numbers and not 9"),
        (WRITTEN.replace("data: [500.0", "data: [many"), "is no camera calibration"),
        (WRITTEN.replace("490.0", "0").replace("505.0", "0").replace("500.0", "0").replace("510.0", "0"), "no focal length"),
        (WRITTEN.replace("490.0", "4.9e9"), "intrinsics"),
    ],
)
def test_what_is_no_calibration_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CameraError, match=told) as raised:
        read_calibration(written(tmp_path / "a.yaml", text))
    assert "\n" not in str(raised.value) and "a.yaml" in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"none\.yaml cannot be read: No such file"):
        read_calibration(tmp_path / "none.yaml")


def test_a_field_of_view_is_a_pinhole_of_the_images_size() -> None:
    made = info_of(90.0)
    assert (made(640, 480).k[0], made(320, 240).k[0]) == pytest.approx((320.0, 160.0))
    camera = camera_from_info(made(640, 480), 640, 480)
    assert camera is not None and (camera.cx, camera.cy) == (319.5, 239.5)
    with pytest.raises(CameraError):
        info_of(179.0)(640, 480)


def test_without_either_nothing_is_known() -> None:
    info = info_of(None)(64, 48)
    assert (info.width, info.height) == (64, 48)
    assert camera_from_info(info, 64, 48) is None
