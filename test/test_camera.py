"""Intrinsics must follow the image: the same point in space is seen at the same place of it, whatever its size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError

CAMERA = Camera(640, 480, 500.0, 510.0, 300.25, 260.5)
POINTS = np.array([[0.3, -0.2, 2.0], [-1.0, 0.5, 4.0], [0.0, 0.0, 1.0], [2.0, 1.0, 9.0]])


def project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Image coordinates [N, 2] of points [N, 3]; the centre of the first pixel is (0, 0)."""
    return np.stack(
        [camera.fx * points[:, 0] / points[:, 2] + camera.cx, camera.fy * points[:, 1] / points[:, 2] + camera.cy], axis=1
    )


@pytest.mark.parametrize("size", [(320, 240), (256, 144), (641, 479), (1, 1), (2560, 1440)])
def test_resized_keeps_every_point_at_the_same_share_of_the_image(size: tuple[int, int]) -> None:
    """Measured from the image's edges, half a pixel outside the first and last centres, the share of the way is unchanged."""
    resized = CAMERA.resized(*size)
    assert (resized.width, resized.height) == size
    before = (project(CAMERA, POINTS) + 0.5) / [CAMERA.width, CAMERA.height]
    after = (project(resized, POINTS) + 0.5) / size
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)


def test_resized_by_hand() -> None:
    """Half the size: pixel 0 of the small image covers pixels 0 and 1, so its centre is at 0.5 of the large one."""
    half = Camera(4, 2, 8.0, 6.0, 1.5, 0.5).resized(2, 1)
    assert (half.fx, half.fy, half.cx, half.cy) == (4.0, 3.0, 0.5, 0.0)


def test_resizing_back_and_forth_changes_nothing() -> None:
    back = CAMERA.resized(256, 192).resized(640, 480)
    np.testing.assert_allclose([back.fx, back.fy, back.cx, back.cy], [500.0, 510.0, 300.25, 260.5], rtol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_strided_pixels_see_along_the_rays_of_the_pixels_kept(stride: int) -> None:
    x, y = CAMERA.ray_slopes()
    strided = CAMERA.strided(stride)
    strided_x, strided_y = strided.ray_slopes()
    assert (strided.width, strided.height) == (len(x[::stride]), len(y[::stride]))
    np.testing.assert_allclose(strided_x, x[::stride], atol=1e-6)
    np.testing.assert_allclose(strided_y, y[::stride], atol=1e-6)


def test_ray_slopes_invert_the_projection() -> None:
    x, y = CAMERA.ray_slopes()
    assert x.dtype == y.dtype == np.float32
    point = np.array([[x[123] * 3.5, y[45] * 3.5, 3.5]])
    np.testing.assert_allclose(project(CAMERA, point), [[123, 45]], atol=1e-3)


def test_field_of_view_reaches_the_outer_edges_of_the_outer_pixels() -> None:
    camera = Camera.from_hfov(1920, 1080, 90.0)
    assert camera.fx == camera.fy == pytest.approx(960.0)
    left, right = (np.array([-0.5, 1919.5]) - camera.cx) / camera.fx
    assert math.degrees(math.atan(right) - math.atan(left)) == pytest.approx(90.0)
    assert camera.hfov_deg == pytest.approx(90.0)
    assert camera.cy == 539.5


@pytest.mark.parametrize(
    "bad",
    [
        {"fx": 0.0},
        {"fy": -1.0},
        {"fx": math.nan},
        {"cx": math.nan},
        {"cy": math.inf},
        {"fy": math.inf},
        {"fx": 1e-300},
        {"cx": -1e30},
    ],
)
def test_unusable_intrinsics_are_one_line(bad: dict[str, float]) -> None:
    values = {"fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0} | bad
    with pytest.raises(CameraError, match=r"not usable: calibrate the camera") as caught:
        Camera(640, 480, **values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(0, 480), (640, 0), (-640, 480)])
def test_empty_size(width: int, height: int) -> None:
    with pytest.raises(CameraError, match="is empty"):
        Camera(width, height, 500.0, 500.0, 0.0, 0.0)
    with pytest.raises(CameraError, match="is empty"):
        CAMERA.resized(width, height)


@pytest.mark.parametrize("hfov_deg", [0.0, 180.0, -20.0, math.nan, math.inf])
def test_impossible_field_of_view(hfov_deg: float) -> None:
    with pytest.raises(CameraError, match="field of view"):
        Camera.from_hfov(640, 480, hfov_deg)


@pytest.mark.parametrize(
    "camera",
    [
        Camera.from_hfov(1920, 1080, 5.0),  # a long telephoto lens
        Camera.from_hfov(1920, 1200, 170.0),  # a rectified fisheye
        Camera.from_hfov(1080, 1920, 40.0),  # portrait
        Camera(1920, 1080, 1400.0, 700.0, 960.0, 540.0),  # anamorphic, 1:2
        Camera(1280, 720, 921.0, 921.0, -300.0, 900.0),  # a crop that nobody stated
        Camera(1280, 720, 921.0, 921.0, 640.0, 20.0),  # its upper edge near the centre
        Camera(1280, 720, 921.0, 921.0, 1600.0, -180.0),
        Camera(64, 48, 48.0, 52.0, 31.0, 24.0),
    ],
)
def test_real_cameras_are_plausible(camera: Camera) -> None:
    camera.require_plausible()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((1.0, 1.0, 640.0, 360.0), "fx, fy = 1, 1 px mean a field of view"),  # unset
        ((0.72, 1.28, 0.5, 0.5), "cx = 0.5 px, the principal point on the image's edge, is unset or normalised"),
        ((0.72, 1.28, 640.0, 360.0), "field of view"),
        ((3.6, 3.6, 640.0, 360.0), "field of view of 179.4 x 178.9 deg in 1280x720 pixels, outside 5 to 175 deg"),  # millimetres
        ((921000.0, 921000.0, 640.0, 360.0), "field of view of 0.1"),
        ((921.0, 921.0, 0.5, 360.0), "cx = 0.5 px"),  # in one coordinate only
        ((921.0, 921.0, 640.0, 0.5), "cy = 0.5 px"),
        ((921.0, 921.0, 640.0, 0.0), "cy = 0 px"),
        ((921.0, 921.0, 0.0, 0.0), "cx = 0 px"),
        ((921.0, 300.0, 640.0, 360.0), "differ by more than"),
        ((921.0, 921.0, 1601.0, 360.0), "cx = 1601 px is far outside of the 1280x720 image"),
        ((921.0, 921.0, 640.0, -181.0), "cy = -181 px"),
    ],
)
def test_what_no_camera_has_is_told_with_value_and_remedy(values: tuple[float, float, float, float], told: str) -> None:
    with pytest.raises(CameraError) as caught:
        Camera(1280, 720, *values).require_plausible()
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).endswith("give fx, fy, cx, cy in pixels of the calibrated image")
