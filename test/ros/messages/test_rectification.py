"""When images are rectified, by what of camera_info, and what is said of the result."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.lens import RayTable, Rectification
from depth_retrofit_ros.ros.messages import rectification
from depth_retrofit_ros.ros.messages.calibration import info_for_image, intrinsics
from depth_retrofit_ros.ros.messages.rectification import Rectifier, named_kind

K = np.array([[300.0, 0, 322], [0, 305, 241], [0, 0, 1]])
P = np.array([[260.0, 0, 318, -26], [0, 262, 238, 0], [0, 0, 1, 0]])
R = cv2.Rodrigues(np.array([0.01, -0.02, 0.015]))[0]
D = np.array([-0.25, 0.08, 1e-3, -1e-3, -0.01])
RAW = "/camera/image_raw"


def calibrated(**changes: Any) -> CameraInfo:
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=D.tolist(), k=K.ravel(), r=R.ravel(), p=P.ravel())
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def made(info: CameraInfo, width: int = 640, height: int = 480, mode: str = "true") -> Rectification:
    optics = Rectifier().of(info, width, height, mode, RAW).optics
    assert isinstance(optics, Rectification)
    return optics


def full_maps() -> tuple[np.ndarray, np.ndarray]:
    return cv2.initUndistortRectifyMap(K, D, R, P[:, :3], (640, 480), cv2.CV_32FC1)


def test_r_and_p_are_those_of_opencv() -> None:
    for ours, theirs in zip(made(calibrated()).maps(), full_maps(), strict=True):
        assert np.abs(ours - theirs).max() < 1e-3


def test_a_region_s_map_is_a_part_of_the_whole_one_s_and_binning_scales_it() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=60, width=400, height=320, do_rectify=True)
    whole_x, whole_y = full_maps()
    map_x, map_y = made(calibrated(roi=roi), 400, 320).maps()
    assert np.abs(map_x - (whole_x[60:380, 100:500] - 100)).max() < 1e-3
    assert np.abs(map_y - (whole_y[60:380, 100:500] - 60)).max() < 1e-3
    # A binned pixel's center is between those of its four: so is where it comes from, but for the map's curvature.
    half_x, _ = made(calibrated(binning_x=2, binning_y=2), 320, 240).maps()
    between = whole_x.reshape(240, 2, 320, 2).mean((1, 3))
    assert np.abs(half_x - ((between + 0.5) / 2 - 0.5)).max() < 1e-2


def test_the_published_info_is_that_of_a_rectified_image() -> None:
    info = calibrated(binning_x=2, binning_y=2)
    how = Rectifier().of(info, 320, 240, "auto", RAW)
    of_rectified = how.info(info)
    assert of_rectified is not None and how.camera is not None
    out = info_for_image(of_rectified, how.camera, Header(frame_id="camera"))
    assert not any(out.d) and out.distortion_model == "plumb_bob" and list(out.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    p = np.array(out.p).reshape(3, 4)
    np.testing.assert_allclose(np.array(out.k).reshape(3, 3), p[:, :3], atol=1e-12)
    assert p[0, 3] == pytest.approx(-13.0)  # the baseline stays
    assert intrinsics(out, 320, 240) == how.camera
    assert list(info.d) == D.tolist(), "what came is not changed"
    assert Rectifier().of(out, 320, 240, "true", RAW).optics is None, "it is rectified, and says so"


def test_without_p_images_are_rectified_to_k() -> None:
    info = calibrated(p=[0.0] * 12, r=[0.0] * 9)
    assert made(info).camera == Camera(640, 480, 300.0, 305.0, 322.0, 241.0)
    out = Rectifier().of(info, 640, 480, "true", RAW).info(info)
    assert out is not None and out.k == pytest.approx(K.ravel())


@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        ("/camera/image_raw", "raw"),
        ("/camera/image_raw/compressed", "raw"),
        ("/camera/color/image_raw", "raw"),
        ("/left/image_color", "raw"),
        ("/camera/image_rect", "rectified"),
        ("/zed/left/image_rect_color", "rectified"),
        ("/camera/infra1/image_rect_raw", "rectified"),
        ("/direct/image", None),
        ("/image", None),
    ],
)
def test_what_a_topic_s_name_says(topic: str, kind: str | None) -> None:
    assert named_kind(topic) == kind


def test_auto_rectifies_raw_images_with_distortion_alone_and_doubts_what_it_cannot_tell() -> None:
    rectifier = Rectifier()
    assert isinstance(rectifier.of(calibrated(), 640, 480, "auto", RAW).optics, Rectification)
    for info, topic in ((calibrated(d=[0.0] * 5), RAW), (calibrated(), "/camera/image_rect")):
        how = rectifier.of(info, 640, 480, "auto", topic)
        assert how.optics is None and how.doubt is None and "none needed" in how.told
    doubtful = rectifier.of(calibrated(), 640, 480, "auto", "/image")
    assert doubtful.optics is None and doubtful.doubt and "set rectify to true" in doubtful.doubt and "\n" not in doubtful.doubt
    off = rectifier.of(calibrated(), 640, 480, "false", RAW)
    assert off.optics is None and off.doubt is None
    assert isinstance(rectifier.of(calibrated(), 640, 480, "points", "/image").optics, RayTable)


def test_true_also_turns_what_has_no_distortion() -> None:
    assert made(calibrated(d=[0.0] * 5)).turns
    assert isinstance(
        Rectifier().of(calibrated(d=[0.0] * 4, distortion_model="equidistant"), 640, 480, "true", RAW).optics, Rectification
    )


def test_a_map_is_made_once_and_few_are_kept() -> None:
    rectifier = Rectifier()
    one = rectifier.of(calibrated(), 640, 480, "true", RAW).optics
    assert rectifier.of(calibrated(), 640, 480, "auto", RAW).optics is one
    for width in (320, 160, 80, 640):
        rectifier.of(calibrated(), width, width * 3 // 4, "true", RAW)
    assert rectifier.of(calibrated(), 640, 480, "true", RAW).optics is one, "the one used last is kept"
    other = rectifier.of(calibrated(d=[-0.2, 0.0, 0.0, 0.0, 0.0]), 640, 480, "true", RAW).optics
    assert other is not one and len(rectifier._made) == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"distortion_model": "thin_prism_fisheye"}, "is not known"),
        ({"k": [0.0] * 9}, "no K"),
        ({"r": [2.0] + [0.0] * 8}, "no rotation"),
    ],
)
def test_what_cannot_be_rectified_is_refused_with_the_way_out(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(CameraError, match=told) as error:
        Rectifier().of(calibrated(**changes), 640, 480, "auto", RAW)
    assert "rectify: false" in str(error.value) and "\n" not in str(error.value)


def test_numbers_that_are_not_the_camera_s_do_not_change_which_matrix_is_taken() -> None:
    """Tx that nobody set: P is the camera all the same, for the image and for its camera_info."""
    p = P.copy()
    p[0, 3] = np.nan
    info = calibrated(p=p.ravel())
    how = Rectifier().of(info, 640, 480, "true", RAW)
    published = how.info(info)
    assert published is not None and how.camera is not None
    assert [published.k[0], published.k[4], published.k[2], published.k[5]] == [260.0, 262.0, 318.0, 238.0]


def test_what_cannot_be_made_is_tried_once_and_its_making_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    rectifier, busy = Rectifier(), []

    def none(*arguments: object) -> Rectification:
        busy.append(rectifier.is_busy)
        raise CameraError("nothing to be seen")

    monkeypatch.setattr(rectification, "_optics", none)
    for _ in range(3):
        with pytest.raises(CameraError, match="nothing to be seen"):
            rectifier.of(calibrated(), 640, 480, "true", RAW)
    assert busy == [True] and not rectifier.is_busy
