"""Rectification is OpenCV's, and knows what the lens does not see; rays are those that meet the pixels."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError
from depth_retrofit_ros.lens import IDENTITY, Lens, RayTable, Rectification, at_cells, matrix_of

RAW, NEW = Camera(320, 200, 170.0, 172.0, 158.0, 103.0), Camera(320, 200, 150.0, 155.0, 161.0, 98.0)
TURN: tuple[float, ...] = tuple(cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0].ravel().tolist())
RATIONAL = (0.5, -0.2, 1e-3, -1e-3, 0.02, 0.8, -0.1, 0.03)
LENSES = (
    ("plumb_bob", (-0.3, 0.1, 1e-3, -2e-3)),
    ("plumb_bob", (-0.3, 0.1, 1e-3, -2e-3, -0.01)),
    ("rational_polynomial", RATIONAL),
    ("rational_polynomial", (*RATIONAL, 1e-3, 1e-4, -1e-3, 2e-4)),
    ("rational_polynomial", (*RATIONAL, 1e-3, 1e-4, -1e-3, 2e-4, 0.01, -0.02)),
    ("equidistant", (-0.02, 0.005, -0.003, 0.0005)),
)


def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (RAW.height, RAW.width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (5, 5), 0))


def reference_maps(lens: Lens, camera: Camera, rotation: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    make = cv2.fisheye.initUndistortRectifyMap if lens.is_fisheye else cv2.initUndistortRectifyMap
    turn = np.array(rotation).reshape(3, 3)
    size = camera.width, camera.height
    return make(lens.matrix, np.array(lens.coefficients), turn, matrix_of(camera), size, cv2.CV_32FC1)


@pytest.mark.parametrize(("model", "coefficients"), LENSES)
@pytest.mark.parametrize("rotation", [IDENTITY, TURN])
def test_maps_and_images_are_those_of_opencv(model: str, coefficients: tuple[float, ...], rotation: tuple[float, ...]) -> None:
    lens = Lens(model, coefficients, RAW)
    made = Rectification(lens, NEW, rotation)
    expected = reference_maps(lens, NEW, rotation)
    seen = np.ones((200, 320), bool) if made.unseen is None else ~made.unseen
    assert 0.5 < seen.mean() < 1
    for ours, theirs in zip(made.maps(), expected, strict=True):
        assert np.abs(ours - theirs)[seen].max() < 1e-3
    image = picture()
    rectified = made.image(image)
    np.testing.assert_array_equal(
        rectified[seen], cv2.remap(image, *cv2.convertMaps(*expected, cv2.CV_16SC2), cv2.INTER_LINEAR)[seen]
    )
    if rotation == IDENTITY:
        arguments = image, lens.matrix, np.array(coefficients)
        undistort = cv2.fisheye.undistortImage if lens.is_fisheye else cv2.undistort
        theirs = undistort(*arguments, None, matrix_of(NEW))
        np.testing.assert_allclose(rectified[seen].astype(int), theirs[seen], atol=1)


@pytest.mark.parametrize(("model", "coefficients"), LENSES)
def test_the_map_says_where_the_lens_shows_a_point_in_space(model: str, coefficients: tuple[float, ...]) -> None:
    """Independent of OpenCV's maps: a point, projected by the lens, is where the map of its rectified pixel points."""
    lens = Lens(model, coefficients, RAW)
    made = Rectification(lens, NEW, TURN)
    v, u = np.mgrid[20:190:17, 20:310:19].reshape(2, -1)
    rays = np.column_stack(((u - NEW.cx) / NEW.fx, (v - NEW.cy) / NEW.fy, np.ones(len(u))))
    raw = lens.project(2.5 * rays @ np.array(TURN).reshape(3, 3))  # R^-1 of the rows
    map_x, map_y = made.maps()
    known = np.isfinite(raw).all(1) & (map_x[v, u] > 0)
    assert known.sum() > 50
    np.testing.assert_allclose(np.column_stack((map_x[v, u], map_y[v, u]))[known], raw[known], atol=1e-3)


def test_what_a_lens_does_not_see_is_told_and_black_and_a_fold_invents_nothing() -> None:
    """A strong barrel: beyond its reach the polynomial turns back into the image, where OpenCV alone shows things twice."""
    lens = Lens("plumb_bob", (-0.4, 0.0, 0.0, 0.0, 0.0), RAW)
    assert lens.reach == pytest.approx(1 / 1.2)
    wide = Camera(320, 200, 40.0, 40.0, 159.5, 99.5)
    made = Rectification(lens, wide)
    assert made.unseen is not None and made.unseen[0, 0] and not made.unseen[100, 160]
    map_x, map_y = reference_maps(lens, wide, IDENTITY)
    v, u = np.mgrid[:200, :320]
    beyond = ((u - wide.cx) / wide.fx) ** 2 + ((v - wide.cy) / wide.fy) ** 2 > lens.reach
    twice = beyond & (map_x > 0) & (map_x < 319) & (map_y > 0) & (map_y < 199)
    assert twice.sum() > 100 and made.unseen[twice].all()
    assert not made.image(np.full((200, 320, 3), 255, np.uint8))[twice].any()


def test_behind_the_camera_is_nothing() -> None:
    turn = tuple(cv2.Rodrigues(np.array([0.0, math.radians(80), 0.0]))[0].ravel().tolist())
    made = Rectification(Lens("plumb_bob", (0.01, 0.0, 0.0, 0.0, 0.0), RAW), Camera(320, 200, 60.0, 60.0, 160.0, 100.0), turn)
    assert made.unseen is not None
    z = made._toward()[2]
    assert (z <= 0).any() and made.unseen[z <= 0].all()


def test_fisheye_reach_and_the_root_of_a_polynomial_s_denominator() -> None:
    assert Lens("equidistant", (0.0, 0.0, 0.0, 0.0), RAW).reach == math.inf
    folded = Lens("equidistant", (-0.5, 0.0, 0.0, 0.0), RAW)  # 1 - 1.5 a² = 0
    assert folded.reach == pytest.approx(math.tan(math.sqrt(1 / 1.5)) ** 2)
    assert Lens("rational_polynomial", (0.0,) * 5 + (-0.25, 0.0, 0.0), RAW).reach == pytest.approx(4.0)


@pytest.mark.parametrize(("model", "coefficients"), LENSES)
def test_the_table_s_rays_meet_their_pixels(model: str, coefficients: tuple[float, ...]) -> None:
    table = RayTable(Lens(model, coefficients, RAW))
    v, u = np.mgrid[:200:9, :320:9].reshape(2, -1)
    slopes = table.slopes[v, u].astype(np.float64)
    known = np.isfinite(slopes).all(1)
    assert known.mean() > 0.7 and (table.unseen is None or (~table.unseen[v, u] == known).all())
    seen = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    points = np.column_stack((slopes[known], np.ones(known.sum())))[:, None]
    back = seen(points, np.zeros(3), np.zeros(3), matrix_of(RAW), np.array(coefficients))[0][:, 0]
    np.testing.assert_allclose(back, np.column_stack((u, v))[known], atol=1e-3)


def test_depth_and_pixels_of_the_lens_s_view_follow_the_image() -> None:
    """A wall, seen by the raw camera: after rectification with R its depth is along the new axis, and its points stay on it."""
    lens, normal, distance = Lens(*LENSES[1], RAW), np.array([0.2, -0.1, 1.0]), 3.0
    slopes = RayTable(lens).slopes.astype(np.float64)
    depth = (distance / (slopes @ normal[:2] + normal[2])).astype(np.float32)
    made = Rectification(lens, NEW, TURN)
    turned = np.array(TURN).reshape(3, 3) @ normal
    x, y = (np.arange(320) - NEW.cx) / NEW.fx, ((np.arange(200) - NEW.cy) / NEW.fy)[:, None]
    expected = distance / (x * turned[0] + y * turned[1] + turned[2])
    found = made.depth(depth)
    known = np.isfinite(found)
    assert made.unseen is not None and not known[made.unseen].any() and known.mean() > 0.8
    assert np.abs(found / expected - 1)[known].max() < 5e-3  # nearest pixel
    pixels = np.array([[40.0, 30.0], [160.0, 100.0], [300.0, 180.0]])
    places, z = made.pixels(pixels, depth[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].astype(np.float64))
    rays = np.column_stack(((places[:, 0] - NEW.cx) / NEW.fx, (places[:, 1] - NEW.cy) / NEW.fy, np.ones(3)))
    np.testing.assert_allclose((rays * z[:, None]) @ turned, distance, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "coefficients", "told"),
    [
        ("thin_prism_fisheye", (0.1,) * 4, "is not known: calibrate with one of plumb_bob"),
        ("", (0.1,) * 5, "is not known"),
        ("plumb_bob", (0.1,) * 8, "takes 4 or 5 coefficients, not 8"),
        ("equidistant", (0.1, math.nan, 0.0, 0.0), "not finite"),
    ],
)
def test_other_lenses_are_refused_in_one_line(model: str, coefficients: tuple[float, ...], told: str) -> None:
    with pytest.raises(CameraError, match=told) as error:
        Lens(model, coefficients, RAW)
    assert "\n" not in str(error.value)


def test_a_rotation_that_is_none_is_refused() -> None:
    with pytest.raises(CameraError, match="no rotation"):
        Rectification(Lens(*LENSES[0], RAW), NEW, (2.0, *IDENTITY[1:]))


def test_a_mask_at_cells() -> None:
    mask = np.zeros((8, 12), bool)
    mask[:4] = True
    np.testing.assert_array_equal(at_cells(mask, (2, 3)), [[True] * 3, [False] * 3])


def test_a_picture_of_nothing_is_refused_in_one_line() -> None:
    """It would be black, and the model be blamed for having no depth."""
    backwards = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    with pytest.raises(CameraError, match="show nothing of the raw"):
        Rectification(Lens("plumb_bob", (-0.1, 0.0, 0.0, 0.0), RAW), NEW, backwards)
    with pytest.raises(CameraError, match="no pixel of the image has a ray"):
        RayTable(Lens("equidistant", (0.0, 0.0, 0.0, 0.0), Camera(8, 8, 5.0, 5.0, 40.0, 40.0)))
