"""Sparse depth messages: the right pixel, the right depth, and one line for whatever is wrong with a message."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import Image, PointCloud2, PointField

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.frame import SparseDepth
from depth_retrofit_ros.lens import Lens, RayTable, Rectification
from depth_retrofit_ros.ros.messages.calibration import same_view
from depth_retrofit_ros.ros.messages.sparse_depth import MOST_PIXELS, _projected, from_image, from_points, rectified
from depth_retrofit_ros.ros.node.parameters import NO_POSE

CAMERA = Camera(640, 480, 500.0, 510.0, 320.0, 240.0)


def depth_message(depth: np.ndarray, encoding: str = "32FC1", padding: int = 0, big_endian: bool = False) -> Image:
    code = ("f4" if encoding == "32FC1" else "u2") if not big_endian else (">f4" if encoding == "32FC1" else ">u2")
    rows = np.ascontiguousarray(depth.astype(code)).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    message = Image(
        height=depth.shape[0], width=depth.shape[1], encoding=encoding, step=rows.shape[1], is_bigendian=int(big_endian)
    )
    message.data = array.array("B", rows.tobytes())
    return message


def cloud_message(points: np.ndarray, kind: str = "<f4", offset: int = 0, step: int = 0, padding: int = 0) -> PointCloud2:
    """points [h, w, 3]; offset: of x within each point of ``step`` bytes; padding: bytes after each row."""
    size = np.dtype(kind).itemsize
    height, width = points.shape[:2]
    step = step or offset + 3 * size
    data = np.full((height, width * step + padding), 0xAB, np.uint8)
    each = data[:, : width * step].reshape(height, width, step)
    each[..., offset : offset + 3 * size] = np.ascontiguousarray(points.astype(kind)).view(np.uint8).reshape(height, width, -1)
    fields = [
        PointField(name=name, offset=offset + i * size, datatype=7 if size == 4 else 8, count=1) for i, name in enumerate("xyz")
    ]
    message = PointCloud2(height=height, width=width, fields=fields, point_step=step, row_step=data.shape[1])
    message.is_bigendian = kind[0] == ">"
    message.data = array.array("B", data.tobytes())
    return message


@pytest.mark.parametrize(("encoding", "unit_m"), [("32FC1", 1.0), ("16UC1", 1e-3), ("mono16", 1e-3)])
@pytest.mark.parametrize("padding", [0, 3, 8])
@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_of_the_same_size_falls_on_its_own_pixels(encoding: str, unit_m: float, padding: int, big_endian: bool) -> None:
    depth = np.arange(1000, 1000 + 30 * 40).reshape(30, 40) * (1.0 if encoding != "32FC1" else 1e-3)
    pixels, z = from_image(depth_message(depth, encoding, padding, big_endian), 40, 30)
    np.testing.assert_array_equal(pixels, np.arange(30 * 40))
    np.testing.assert_allclose(z, depth.ravel() * unit_m, rtol=1e-6)


def test_a_small_depth_image_falls_on_the_pixels_at_its_centres() -> None:
    pixels, _ = from_image(depth_message(np.full((3, 4), 2.0)), 40, 30)
    np.testing.assert_array_equal(pixels % 40, np.tile([5, 15, 25, 35], 3))
    np.testing.assert_array_equal(pixels // 40, np.repeat([5, 15, 25], 4))


@pytest.mark.parametrize(
    ("size", "image", "fits"),
    [
        ((8, 4), (64, 36), True),  # 4.5 rows cannot be: a pixel may be missing
        ((64, 36), (8, 4), True),
        ((10, 6), (64, 48), False),
        ((640, 360), (1920, 1080), True),
        ((640, 368), (1920, 1088), True),
        ((640, 480), (1920, 1080), False),
        ((480, 640), (640, 480), False),
    ],
)
def test_it_shows_the_view_of_the_image_up_to_rounding(size: tuple[int, int], image: tuple[int, int], fits: bool) -> None:
    """As a camera_info of another size does."""
    depth = np.ones((size[1], size[0]), np.float32)
    assert same_view(size, image) is same_view(image, size) is fits
    message = depth_message(depth)
    if fits:
        assert len(from_image(message, *image).depth) == min(depth.size, MOST_PIXELS)
    else:
        with pytest.raises(SparseDepthError, match="register it to the image"):
            from_image(message, *image)


def test_unknown_and_absurdly_near_depths_are_left_out() -> None:
    depth = np.array([[np.nan, np.inf, -1.0, 0.0], [0.01, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]])
    assert from_image(depth_message(depth), 4, 3).depth.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    millimeters = np.array([[0, 1000], [0, 2000]])
    assert from_image(depth_message(millimeters, "16UC1"), 2, 2).depth.tolist() == [1.0, 2.0]


def test_a_dense_image_is_thinned_evenly() -> None:
    pixels, z = from_image(depth_message(np.full((480, 640), 2.0)), 640, 480)
    assert MOST_PIXELS / 2 < len(z) <= MOST_PIXELS
    assert abs((pixels % 640).mean() - 320) < 10 and abs((pixels // 640).mean() - 240) < 10


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_the_few_known_pixels_of_a_large_image_are_all_kept(encoding: str) -> None:
    depth = np.zeros(720 * 1280)
    depth[np.random.default_rng(0).choice(depth.size, 1000, replace=False)] = 2.0 if encoding == "32FC1" else 2000
    pixels, z = from_image(depth_message(depth.reshape(720, 1280), encoding), 1280, 720)
    np.testing.assert_array_equal(pixels, np.flatnonzero(depth))
    np.testing.assert_allclose(z, 2.0)


def test_the_few_known_points_of_an_organised_cloud_are_all_kept() -> None:
    points = np.full((720 * 1280, 3), np.nan, np.float32)
    points[np.random.default_rng(0).choice(len(points), 1000, replace=False)] = 0.1, 0.1, 2.0
    assert len(from_points(cloud_message(points.reshape(720, 1280, 3)), CAMERA, NO_POSE).depth) == 1000


def test_a_lens_that_sees_little_of_a_scanner_s_turn_gets_all_of_it() -> None:
    """300,000 points around, of which a long lens sees a hundred."""
    angle = np.linspace(0, 2 * np.pi, 300_000, endpoint=False)
    points = np.stack((np.sin(angle), np.zeros_like(angle), np.cos(angle)), axis=-1) * 10.0
    telephoto = Camera.from_hfov(640, 480, 0.12)
    assert len(from_points(cloud_message(points[None]), telephoto, NO_POSE).depth) == pytest.approx(100, abs=2)


@pytest.mark.parametrize("size", [(1024, 1280), (480, 640)])
def test_thinning_meets_every_part_of_the_image(size: tuple[int, int]) -> None:
    """1280 columns times 1024 rows over 4096 is 320: a stride of that would meet four columns."""
    pixels, _ = from_image(depth_message(np.full(size, 2.0)), size[1], size[0])
    assert len(np.unique(pixels)) == MOST_PIXELS
    counts, _, _ = np.histogram2d(pixels // size[1], pixels % size[1], bins=8)
    assert counts.min() > 0.5 * counts.mean()


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize(("offset", "step", "padding"), [(0, 0, 0), (0, 32, 0), (4, 32, 7)])
def test_points_fall_where_the_camera_sees_them(kind: str, offset: int, step: int, padding: int) -> None:
    rng = np.random.default_rng(0)
    u, v, z = rng.integers(0, 640, (5, 7)), rng.integers(0, 480, (5, 7)), rng.uniform(0.5, 30.0, (5, 7))
    points = np.stack(((u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z), axis=-1)
    pixels, depth = from_points(cloud_message(points, kind, offset, step, padding), CAMERA, NO_POSE)
    np.testing.assert_array_equal(pixels, (v * 640 + u).ravel())
    np.testing.assert_allclose(depth, z.ravel(), rtol=1e-6)


def test_points_behind_beside_and_nowhere_are_left_out() -> None:
    points = np.array([[[0, 0, -2], [50, 0, 2], [0, -50, 2], [np.nan, 0, 2], [0, np.inf, 2], [0, 0, np.nan], [0, 0, 0], [0, 0, 3]]])
    pixels, depth = from_points(cloud_message(points.astype(float)), CAMERA, NO_POSE)
    assert depth.tolist() == [3.0] and pixels.tolist() == [240 * 640 + 320]


def test_the_pose_takes_a_lidar_s_frame_to_the_camera_s() -> None:
    """A LiDAR (x forward, y left, z up) 10 cm above the camera: its forward is the camera's z, its left the camera's −x."""
    quaternion = (0.5, -0.5, 0.5, 0.5)
    points = np.array([[[4.0, 0.0, 0.0], [4.0, 1.0, 0.5]]])
    pixels, depth = from_points(cloud_message(points), CAMERA, (0.0, -0.1, 0.0, *quaternion))
    np.testing.assert_allclose(depth, [4.0, 4.0], rtol=1e-6)
    expected = [(0.0, -0.1), (-1.0, -0.6)]
    for pixel, (x, y) in zip(pixels, expected, strict=True):
        assert (pixel % 640, pixel // 640) == (round(320 + 500 * x / 4), round(240 + 510 * y / 4))


def test_a_scanner_s_full_turn_is_thinned() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1, 300_000, 3)) * 10
    pixels, _ = from_points(cloud_message(points), CAMERA, NO_POSE)
    assert 1000 < len(pixels) <= MOST_PIXELS


def lie(message: Any, **changes: Any) -> Any:
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def flat_depth() -> Image:
    return depth_message(np.full((3, 4), 2.0))


def few_points() -> PointCloud2:
    return cloud_message(np.ones((2, 3, 3)))


@pytest.mark.parametrize(
    "message",
    [
        lie(flat_depth(), encoding="rgb8"),
        lie(flat_depth(), encoding=""),
        lie(flat_depth(), step=1),
        lie(flat_depth(), step=2**32 - 1),
        lie(flat_depth(), height=0),
        lie(flat_depth(), height=2**32 - 1, width=2**32 - 1),
        lie(flat_depth(), data=array.array("B")),
        lie(flat_depth(), data=array.array("B", bytes(47))),
        depth_message(np.full((2, 40), 2.0)),  # another view
    ],
)
def test_every_lie_of_a_depth_image_gives_one_line(message: Image) -> None:
    with pytest.raises(SparseDepthError) as error:
        from_image(message, 40, 30)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "message",
    [
        lie(few_points(), fields=[]),
        lie(few_points(), fields=few_points().fields[:2]),
        lie(few_points(), fields=[PointField(name=name, offset=0, datatype=2, count=1) for name in "xyz"]),
        lie(few_points(), fields=[PointField(name=name, offset=2**31, datatype=7, count=1) for name in "xyz"]),
        lie(few_points(), point_step=0),
        lie(few_points(), point_step=2**32 - 1),
        lie(few_points(), row_step=0),
        lie(few_points(), row_step=2**32 - 1),
        lie(few_points(), height=2**32 - 1, width=2**32 - 1, row_step=0, point_step=0, data=array.array("B")),
        lie(few_points(), data=array.array("B", bytes(71))),
    ],
)
def test_every_lie_of_a_cloud_gives_one_line(message: PointCloud2) -> None:
    with pytest.raises(SparseDepthError) as error:
        from_points(message, CAMERA, NO_POSE)
    assert "\n" not in str(error.value)


def test_an_empty_cloud_is_no_lie() -> None:
    empty = lie(few_points(), width=0, row_step=0, data=array.array("B"))
    assert from_points(empty, CAMERA, NO_POSE).depth.size == 0


SIZES = st.integers(0, 6) | st.integers(0, 2**32 - 1)


@settings(max_examples=300, deadline=None)
@given(
    height=SIZES,
    width=SIZES,
    step=st.integers(0, 40) | SIZES,
    encoding=st.sampled_from(["32FC1", "16UC1", "mono16", "8UC1"]) | st.text(max_size=8),
    big_endian=st.integers(0, 255),
    data=st.binary(max_size=200),
)
def test_any_depth_message_gives_pixels_or_one_line(
    height: int, width: int, step: int, encoding: str, big_endian: int, data: bytes
) -> None:
    message = Image(height=height, width=width, step=step, encoding=encoding, is_bigendian=big_endian, data=array.array("B", data))
    check(message)


@settings(max_examples=300, deadline=None)
@given(
    height=SIZES,
    width=SIZES,
    steps=st.tuples(st.integers(0, 40) | SIZES, st.integers(0, 200) | SIZES),
    offsets=st.lists(st.integers(0, 40) | SIZES, min_size=3, max_size=3),
    kinds=st.lists(st.integers(0, 9), min_size=3, max_size=3),
    names=st.sampled_from(["xyz", "xy", "zyx", "xxyz"]),
    data=st.binary(max_size=200),
)
def test_any_cloud_gives_pixels_or_one_line(
    height: int, width: int, steps: tuple[int, int], offsets: list[int], kinds: list[int], names: str, data: bytes
) -> None:
    fields = [
        PointField(name=name, offset=offset, datatype=kind) for name, offset, kind in zip(names, offsets, kinds, strict=False)
    ]
    message = PointCloud2(
        height=height, width=width, fields=fields, point_step=steps[0], row_step=steps[1], data=array.array("B", data)
    )
    check(message)


@settings(max_examples=300, deadline=None)
@given(rows=st.integers(1, 5), columns=st.integers(1, 5), data=st.data())
def test_any_bytes_as_points_give_pixels_in_the_image(rows: int, columns: int, data: st.DataObject) -> None:
    """Here the layout is right, so that what the numbers are is what is tested."""
    size = rows * columns * 12
    raw = data.draw(st.binary(min_size=size, max_size=size))
    message = cloud_message(np.frombuffer(raw, "<f4").reshape(rows, columns, 3))
    check(message, must_fit=True)


def check(message: Any, must_fit: bool = False) -> None:
    """Pixels lie in the image and depths are positive, or there is one line."""
    try:
        pixels, depth = from_image(message, 40, 30) if isinstance(message, Image) else from_points(message, CAMERA, NO_POSE)
    except SparseDepthError as error:
        assert "\n" not in str(error) and not must_fit
    else:
        assert len(pixels) == len(depth) <= MOST_PIXELS
        assert ((pixels >= 0) & (pixels < 640 * 480)).all() and (depth > 0).all() and np.isfinite(depth).all()


def test_sparse_depth_follows_the_image_that_is_made_of_the_lens_s() -> None:
    """A wall's depth image of the raw view and the points of the same wall become the same depths of the rectified image."""
    raw, new = Camera(64, 48, 40.0, 41.0, 31.0, 23.0), Camera(64, 48, 35.0, 36.0, 33.0, 24.0)
    turn = cv2.Rodrigues(np.array([0.03, -0.02, 0.01]))[0]
    lens = Lens("plumb_bob", (-0.2, 0.05, 0.001, 0.0, 0.0), raw)
    optics, slopes = Rectification(lens, new, tuple(turn.ravel().tolist())), RayTable(lens).slopes.astype(np.float64)
    depth = 3.0 / (0.1 * slopes[..., 0] - 0.2 * slopes[..., 1] + 1)
    normal, v, u = turn @ (0.1, -0.2, 1.0), *np.divmod(np.arange(64 * 48), 64)
    expected = 3.0 / (normal[0] * (u - new.cx) / new.fx + normal[1] * (v - new.cy) / new.fy + normal[2])
    by_image = rectified(SparseDepth(np.arange(64 * 48), depth.ravel()), optics)
    points = (np.dstack((slopes, np.ones((48, 64)))) * depth[..., None]).reshape(-1, 3)
    by_points = _projected(points, new, NO_POSE, optics)
    for found in (by_image, by_points):
        assert len(found.depth) > 1000
        np.testing.assert_allclose(found.depth, expected[found.pixels], rtol=0.02)  # half a pixel of a slanted wall
    stays = _projected(points, raw, NO_POSE, RayTable(lens))
    np.testing.assert_allclose(stays.depth, depth.ravel()[stays.pixels])
    assert rectified(by_points, None) is by_points
