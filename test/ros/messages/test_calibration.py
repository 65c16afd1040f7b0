import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.ros.messages.calibration import camera_from_info, info_for_image, intrinsics

K = [600.0, 0.0, 321.0, 0.0, 610.0, 243.0, 0.0, 0.0, 1.0]
P = [580.0, 0.0, 319.0, -58.0, 0.0, 590.0, 239.0, 11.8, 0.0, 0.0, 1.0, 0.0]
D = [0.1, -0.2, 0.001, 0.002, 0.05]
R = [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def calibrated(**changes: Any) -> CameraInfo:
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=D, k=K, r=R, p=P)
    info.header = Header(frame_id="info_frame")
    for name, value in changes.items():
        setattr(info, name, list(map(float, value)) if name in ("k", "p") else value)
    return info


def test_rectified_images_use_p_and_k_stands_in_where_p_has_no_focal_length() -> None:
    assert camera_from_info(calibrated(), 640, 480) == Camera(640, 480, 580.0, 590.0, 319.0, 239.0)
    almost = [0.0] * 10 + [1.0, 0.0]
    for p in ([0.0] * 12, almost, [float("nan")] * 12, [float("nan"), *P[1:]], [0.0, *P[1:]]):
        assert camera_from_info(calibrated(p=p), 640, 480) == Camera(640, 480, 600.0, 610.0, 321.0, 243.0)


def test_an_uncalibrated_camera_is_none_not_an_error() -> None:
    assert camera_from_info(CameraInfo(), 640, 480) is None
    assert camera_from_info(CameraInfo(width=640, height=480), 640, 480) is None
    p, k = [0.0] * 10 + [1.0, 0.0], [0.0] * 8 + [1.0]
    assert camera_from_info(CameraInfo(width=640, height=480, k=k, p=p), 640, 480) is None


@pytest.mark.parametrize("bad", [float("inf"), -1.0])
@pytest.mark.parametrize("index", [0, 5])
def test_numbers_that_cannot_be_focal_lengths_give_one_line(bad: float, index: int) -> None:
    p = list(P)
    p[index] = bad
    with pytest.raises(CameraError) as error:
        camera_from_info(calibrated(p=p), 640, 480)
    assert "\n" not in str(error.value)


def test_nan_everywhere_and_an_empty_size_give_one_line() -> None:
    for info in (calibrated(k=[float("nan")] * 9, p=[float("nan")] * 12), calibrated(width=0), calibrated(height=0)):
        with pytest.raises(CameraError) as error:
            camera_from_info(info, 640, 480)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("width", "height"), [(1280, 960), (320, 240), (640, 480), (2560, 1920)])
def test_an_image_of_another_size_scales_the_camera_pixel_centre_exact(width: int, height: int) -> None:
    camera = camera_from_info(calibrated(), width, height)
    assert camera == Camera(640, 480, 580.0, 590.0, 319.0, 239.0).resized(width, height)


def test_region_of_interest_and_binning() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=50, width=320, height=240, do_rectify=True)
    cropped = camera_from_info(calibrated(roi=roi), 320, 240)
    assert cropped == Camera(320, 240, 580.0, 590.0, 219.0, 189.0)
    binned = camera_from_info(calibrated(roi=roi, binning_x=2, binning_y=2), 160, 120)
    assert binned == Camera(320, 240, 580.0, 590.0, 219.0, 189.0).resized(160, 120)
    with pytest.raises(CameraError, match="region of interest"):
        camera_from_info(calibrated(roi=RegionOfInterest(x_offset=400, width=320, height=240)), 320, 240)


@pytest.mark.parametrize(
    ("roi", "size"),
    [
        (RegionOfInterest(), (640, 480)),
        (RegionOfInterest(), (2560, 1920)),
        (RegionOfInterest(x_offset=64, y_offset=32, width=512, height=384), (256, 192)),
    ],
)
def test_published_info_describes_the_depth_image(roi: RegionOfInterest, size: tuple[int, int]) -> None:
    info = calibrated(roi=roi, binning_x=2)
    before = copy.deepcopy(info)
    camera = camera_from_info(info, *size)
    assert camera is not None
    header = Header(frame_id="image_frame")
    header.stamp.sec = 7
    out = info_for_image(info, camera, header)
    assert out.header == header
    assert (out.width, out.height) == size
    assert info == before
    # Read back as an ordinary camera_info of an image of that size, it is the same camera: K and P, by the same convention.
    again = intrinsics(out, *size)
    assert again is not None
    np.testing.assert_allclose([again.fx, again.fy, again.cx, again.cy], [camera.fx, camera.fy, camera.cx, camera.cy], rtol=1e-12)
    from_k = camera_from_info(calibrated(roi=roi, p=[0.0] * 12), *size)
    assert from_k is not None
    np.testing.assert_allclose(np.array(out.k)[[0, 4, 2, 5]], [from_k.fx, from_k.fy, from_k.cx, from_k.cy], rtol=1e-12)
    # The stereo baseline -Tx/fx and its vertical twin do not depend on the image's size.
    assert out.p[3] / out.p[0] == pytest.approx(P[3] / P[0])
    assert out.p[7] / out.p[5] == pytest.approx(P[7] / P[5])
    assert list(out.d) == D and list(out.r) == R and out.distortion_model == "plumb_bob"
    assert (out.binning_x, out.binning_y, out.roi) == (0, 0, RegionOfInterest())


@pytest.mark.parametrize("p", [[0.0] * 12, [0.0] * 10 + [1.0, 0.0], [float("nan")] * 12])
def test_a_p_without_focal_length_is_filled_from_k(p: list[float]) -> None:
    info = calibrated(p=p)
    camera = camera_from_info(info, 1280, 960)
    assert camera is not None
    out = info_for_image(info, camera, Header())
    assert (out.p[0], out.p[5], out.p[2], out.p[6]) == pytest.approx((camera.fx, camera.fy, camera.cx, camera.cy))
    assert (out.p[3], out.p[7], out.p[10]) == (0.0, 0.0, 1.0)


def test_a_zero_k_stays_zero() -> None:
    info = calibrated(k=[0.0] * 9)
    camera = camera_from_info(info, 1280, 960)
    assert camera is not None
    assert not np.any(info_for_image(info, camera, Header()).k)


def test_the_cloud_projects_back_onto_its_pixels_through_the_published_info() -> None:
    """The convention, tested end to end: cloud of the resized image, projected by the published P, hits the pixel centres."""
    info = calibrated()
    width, height = 960, 720
    camera = camera_from_info(info, width, height)
    assert camera is not None
    depth = np.random.default_rng(0).uniform(0.5, 9.0, (height, width)).astype(np.float32)
    stride = 3
    cloud = make_cloud(depth, np.zeros((height, width, 3), np.uint8), camera, stride)
    p = np.array(info_for_image(info, camera, Header()).p).reshape(3, 4)[:, :3]  # left camera of a stereo pair: Tx aside
    projected = cloud[..., :3].astype(np.float64) @ p.T
    u, v = projected[..., 0] / projected[..., 2], projected[..., 1] / projected[..., 2]
    np.testing.assert_allclose(u, np.broadcast_to(np.arange(0, width, stride), u.shape), atol=1e-3)
    np.testing.assert_allclose(v, np.broadcast_to(np.arange(0, height, stride)[:, None], v.shape), atol=1e-3)


def judged(info: CameraInfo, image: tuple[int, int], camera: Camera) -> None:
    """The judgement is the same camera, or one line."""
    try:
        assert camera_from_info(info, *image) == camera
    except CameraError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (640, 472)),  # within 2 %: a codec's padding
        ({"binning_x": 2, "binning_y": 2}, (320, 240)),
        ({"binning_x": 2, "binning_y": 2}, (640, 480)),  # a driver that states its binning beside the full size
        ({"binning_x": 2, "binning_y": 1}, (320, 480)),
        ({"roi": RegionOfInterest(x_offset=560, y_offset=0, width=80, height=480)}, (80, 480)),  # its centre is far outside
        ({"roi": RegionOfInterest(x_offset=320, y_offset=240, width=8, height=6)}, (8, 6)),  # it sees less than a degree
        ({"roi": RegionOfInterest(x_offset=64, y_offset=32, width=512, height=384), "binning_x": 2, "binning_y": 2}, (256, 192)),
        ({"width": 480, "height": 640, "p": [580.0, 0, 239, 0, 0, 590, 319, 0, 0, 0, 1, 0]}, (960, 1280)),  # portrait
    ],
)
def test_roi_and_binning_explain_another_shape(changes: dict[str, object], size: tuple[int, int]) -> None:
    info = calibrated(**changes)
    camera = camera_from_info(info, *size)
    assert camera is not None and camera == intrinsics(info, *size)


@pytest.mark.parametrize(
    ("changes", "size", "told"),
    [
        ({}, (1280, 720), "of 640x480 is not of the 1280x720 image"),
        ({}, (2560, 1440), "aspect ratio"),
        ({}, (480, 640), "aspect ratio"),
        ({"binning_x": 2, "binning_y": 2}, (480, 640), "aspect ratio"),
        ({"roi": RegionOfInterest(width=320, height=480)}, (640, 480), "of 320x480 is not of the 640x480 image"),
        ({"p": [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}, (640, 480), "cx = 0 px"),
        ({"p": [0.9, 0, 0.5, 0, 0, 1.2, 0.5, 0, 0, 0, 1, 0]}, (640, 480), "cx = 0.5 px"),
        ({"p": [3.6, 0, 319, 0, 0, 3.6, 239, 0, 0, 0, 1, 0]}, (640, 480), "field of view"),
        ({"p": [0.0] * 12, "k": [580.0, 0, 0.5, 0, 580, 0.5, 0, 0, 1]}, (640, 480), "cx = 0.5 px"),
    ],
)
def test_what_is_not_of_this_image_or_of_no_camera_is_told_in_one_line(
    changes: dict[str, object], size: tuple[int, int], told: str
) -> None:
    with pytest.raises(CameraError) as error:
        camera_from_info(calibrated(**changes), *size)
    assert told in str(error.value) and "\n" not in str(error.value)


ANY_SIZE = st.integers(0, 2**32 - 1) | st.integers(0, 10_000)
ANY_NUMBER = st.floats() | st.floats(-5000, 5000) | st.just(0.0)


@settings(max_examples=300, deadline=None)
@given(
    size=st.tuples(ANY_SIZE, ANY_SIZE),
    k=st.lists(ANY_NUMBER, min_size=9, max_size=9),
    p=st.lists(ANY_NUMBER, min_size=12, max_size=12) | st.just([0.0] * 12),
    binning=st.tuples(ANY_SIZE, ANY_SIZE),
    roi=st.tuples(ANY_SIZE, ANY_SIZE, ANY_SIZE, ANY_SIZE) | st.just((0, 0, 0, 0)),
    image=st.tuples(st.integers(1, 8000), st.integers(1, 8000)),
)
def test_any_camera_info_gives_a_camera_and_its_info_or_none_or_one_line(
    size: tuple[int, int],
    k: list[float],
    p: list[float],
    binning: tuple[int, int],
    roi: tuple[int, int, int, int],
    image: tuple[int, int],
) -> None:
    region = RegionOfInterest(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3])
    info = CameraInfo(width=size[0], height=size[1], k=k, p=p, binning_x=binning[0], binning_y=binning[1], roi=region)
    try:
        with np.errstate(all="ignore"):
            camera = intrinsics(info, *image)
            published = None if camera is None else info_for_image(info, camera, Header())
    except CameraError as error:
        assert "\n" not in str(error)
        return
    if camera is None:
        assert not all((p[0], p[5])) and not all((k[0], k[4]))
    else:
        judged(info, image, camera)
    if camera is not None and published is not None:
        assert (published.width, published.height) == (camera.width, camera.height) == image
        assert 0 < camera.fx < np.inf and 0 < camera.fy < np.inf and np.isfinite((camera.cx, camera.cy)).all()
