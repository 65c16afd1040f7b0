"""Which sparse depth belongs to a frame, for how long a correction holds, and what contradicts a model."""

from __future__ import annotations

import array
import dataclasses

import cv2
import numpy as np
import pytest
import torch
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import Image, PointCloud2, PointField

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.frame import DepthFrame, Frame, ScaleSource
from depth_retrofit_ros.lens import Lens, Rectification
from depth_retrofit_ros.pointcloud.poses import rotation_matrix as matrix
from depth_retrofit_ros.ros.node.parameters import NO_POSE
from depth_retrofit_ros.ros.node.scale_fit import ScaleFitter
from depth_retrofit_ros.ros.node.sparse_input import REMEMBERED_ALL, REMEMBERED_S, TOLERANCE_S, SparseInput
from depth_retrofit_ros.ros.node.transforms import Transforms
from depth_retrofit_ros.sparse.pixel_set import PixelSet

SECOND = 1_000_000_000
HEIGHT, WIDTH = 12, 16
CAMERA = Camera.from_hfov(WIDTH, HEIGHT, 60.0)
FORWARD_LEFT_UP = (0.5, -0.5, 0.5, 0.5)  # a LiDAR's frame in an optical one
DEPTH = np.linspace(1.0, 3.0, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)


def fitter() -> tuple[SparseInput, ScaleFitter]:
    depths = SparseInput(NO_POSE, "/sparse_depth")
    return depths, ScaleFitter("scale", ScaleClaim("metric", "domain", "streets"), 0.15, depths.of)


def sparse(depth: np.ndarray, stamp_ns: int) -> Image:
    message = Image(height=HEIGHT, width=WIDTH, encoding="32FC1", step=4 * WIDTH)
    message.data = array.array("B", depth.astype("<f4").tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    return message


def frame(stamp_ns: int, camera: Camera | None = CAMERA, frame_id: str = "optical") -> Frame:
    return Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), stamp_ns, frame_id, camera)


def answer(source: ScaleSource | None = "user") -> DepthFrame:
    depth = torch.from_numpy(DEPTH)
    return DepthFrame(
        depth, depth, depth, source, PixelSet.from_indices(torch.zeros(0, dtype=torch.int64), (HEIGHT, WIDTH)), torch.zeros(0)
    )


@pytest.mark.parametrize(
    "changed",
    [{"camera": None}, {"camera": dataclasses.replace(CAMERA, fx=2 * CAMERA.fx)}, {"frame_id": "other"}],
    ids=["intrinsics gone", "other intrinsics", "other frame"],
)
def test_a_correction_does_not_outlive_its_camera(changed: dict[str, object]) -> None:
    """Within the time in which it would hold for the same camera."""
    depths, align = fitter()
    depths.offer(sparse(2 * DEPTH, 10 * SECOND))
    assert align.align(answer(), frame(10 * SECOND))[0].scale_source == "sensor"
    later = 10 * SECOND + SECOND // 2
    assert align.align(answer(None), frame(later))[0].scale_source == "sensor", "it holds for a while"
    result, report = align.align(answer(None), frame(later, **changed))  # type: ignore[arg-type]
    assert result.scale_source is None and report.correction is None
    assert align.align(answer(None), frame(later))[0].scale_source is None, "nor does it come back"


def test_a_correction_of_prompted_depth_is_none_of_relative_depth() -> None:
    """A model that takes sparse depth answers on another scale in a frame without."""
    depths, align = fitter()
    depths.offer(sparse(1.1 * DEPTH, 10 * SECOND))
    result, report = align.align(answer("sensor"), frame(10 * SECOND))
    assert report.correction is not None and report.correction.scale == pytest.approx(1.1, rel=1e-3)
    result, report = align.align(answer(None), frame(10 * SECOND + SECOND // 2))
    assert result.scale_source is None and report.correction is None


def test_what_a_frame_carries_is_its_sparse_depth() -> None:
    depths, _ = fitter()
    depths.offer(sparse(DEPTH, 10 * SECOND))
    found = depths.of(frame(10 * SECOND))
    depths.offer(sparse(2 * DEPTH, 10 * SECOND))
    np.testing.assert_allclose(depths.of(frame(10 * SECOND)).depth, 2 * found.depth)
    assert depths.of(dataclasses.replace(frame(10 * SECOND), sparse=found)) is found


@pytest.mark.parametrize("source", ["user", "model"])
def test_what_the_sensor_contradicts_is_metres_on_nobodys_word(source: ScaleSource) -> None:
    depths, align = fitter()
    wrong = np.random.default_rng(0).permutation(DEPTH.ravel()).reshape(HEIGHT, WIDTH)
    depths.offer(sparse(wrong, 10 * SECOND))
    result, report = align.align(answer(source), frame(10 * SECOND))
    assert result.scale_source is None and not result.metric
    assert "disagree" in report.problem
    torch.testing.assert_close(result.depth, torch.from_numpy(DEPTH))


@pytest.mark.parametrize("source", ["user", "model", None])
def test_where_sparse_depth_is_missing_the_word_stands(source: ScaleSource | None) -> None:
    depths, align = fitter()
    result, report = align.align(answer(source), frame(10 * SECOND))
    assert result.scale_source == source and "no sparse depth" in report.problem
    depths.offer(sparse(np.where(np.arange(WIDTH) == 0, 2 * DEPTH, np.nan), 10 * SECOND))
    result, report = align.align(answer(source), frame(10 * SECOND))
    assert result.scale_source == source and "only 12" in report.problem


@pytest.mark.parametrize("rate_hz", [10, 30, 100])
@pytest.mark.parametrize("age_s", [0.0, 0.9, 2.5])
def test_a_slow_model_finds_the_sparse_depth_of_its_image(rate_hz: int, age_s: float) -> None:
    """However many messages came since."""
    (depths, align), now = fitter(), 100 * SECOND
    for number in range(5 * rate_hz + 1):
        stamp_ns = now - 5 * SECOND + round(number * SECOND / rate_hz)
        depths.offer(sparse(2 * DEPTH, stamp_ns))
    assert depths.remembered <= REMEMBERED_ALL + 2 * REMEMBERED_S / TOLERANCE_S + 1
    result, report = align.align(answer(None), frame(now - round(age_s * SECOND)))
    assert report.problem == "" and result.scale_source == "sensor"


def test_the_newest_sparse_depth_is_not_thinned() -> None:
    """A depth camera's images have the stamps of the color images, and those of their neighbors show another moment."""
    depths, align = fitter()
    for number in range(40):
        depths.offer(sparse((1 + number) * DEPTH, 10 * SECOND + number * SECOND // 30))
    for number in range(40 - REMEMBERED_ALL, 40):
        _, report = align.align(answer(None), frame(10 * SECOND + number * SECOND // 30))
        assert report.fit is not None and report.fit.correction.scale == pytest.approx(1 + number)


def test_of_one_stamp_the_last_that_came_counts() -> None:
    depths, align = fitter()
    for number in range(3 * REMEMBERED_ALL):
        depths.offer(sparse((1 + number) * DEPTH, 10 * SECOND))
        _, report = align.align(answer(None), frame(10 * SECOND))
        assert report.fit is not None and report.fit.correction.scale == pytest.approx(1 + number)


def test_what_is_remembered_is_bounded_whatever_the_stamps() -> None:
    (depths, _), rng = fitter(), np.random.default_rng(0)
    for stamp_ns in rng.integers(0, 20 * SECOND, 2000):
        depths.offer(sparse(DEPTH, int(stamp_ns)))
    assert depths.remembered <= REMEMBERED_ALL + 4 * REMEMBERED_S / TOLERANCE_S + 1


def test_points_are_turned_by_tf_and_by_r_of_the_rectified_image() -> None:
    """Known by their place on the optical axis of the rectified image, which looks 0.2 rad to the right of the lens."""
    turn = cv2.Rodrigues(np.array([0.0, -0.2, 0.0]))[0]
    centered = Camera(WIDTH, HEIGHT, 10.0, 10.0, 8.0, 6.0)
    lens = Lens("plumb_bob", (-0.1, 0.0, 0.0, 0.0), centered)
    optics = Rectification(lens, centered, tuple(turn.ravel().tolist()))
    mount = TransformStamped(child_frame_id="lidar")
    mount.header.frame_id = "optical"
    t, r = mount.transform.translation, mount.transform.rotation
    t.x, t.y, t.z = 0.3, -0.2, 0.1
    r.x, r.y, r.z, r.w = FORWARD_LEFT_UP
    transforms = Transforms()
    transforms.offer([mount], is_static=True)
    in_optical = turn.T @ (0.0, 0.0, 2.0)
    in_lidar = matrix(FORWARD_LEFT_UP).T @ (in_optical - (0.3, -0.2, 0.1))
    points = PointCloud2(height=1, width=1, point_step=12, row_step=12)
    points.fields = [PointField(name=name, offset=4 * place, datatype=7, count=1) for place, name in enumerate("xyz")]
    points.data = array.array("B", in_lidar.astype("<f4").tobytes())
    points.header.stamp.sec, points.header.frame_id = 10, "lidar"
    depths = SparseInput(NO_POSE, "/sparse_points", transforms)
    depths.offer(points)
    found = depths.of(dataclasses.replace(frame(10 * SECOND, centered), optics=optics))
    assert found.pixels.tolist() == [6 * WIDTH + 8]
    assert found.depth == pytest.approx([2.0], abs=1e-5)


def test_tf_that_is_late_costs_no_image_its_points_nor_time() -> None:
    """By stamps alone: nothing here waits, whatever the time on the wall."""
    transforms = Transforms()
    transforms._came.wait = lambda timeout=None: pytest.fail("it waits")  # type: ignore[method-assign]
    camera = Camera(WIDTH, HEIGHT, 10.0, 10.0, 8.0, 6.0)
    depths = SparseInput(NO_POSE, "/sparse_points", transforms)
    for late_ms in (0, 60, 100, 130):
        stamp_ns = (10 + late_ms) * SECOND
        mount = TransformStamped(child_frame_id="lidar")
        mount.header.frame_id = "optical"
        mount.transform.translation.z, mount.transform.rotation.w = 1.0, 1.0
        for behind_ms in (late_ms + 50, late_ms):
            mount.header.stamp.sec, mount.header.stamp.nanosec = divmod(stamp_ns - behind_ms * SECOND // 1000, SECOND)
            transforms.offer([mount], is_static=False)
        points = PointCloud2(height=1, width=1, point_step=12, row_step=12)
        points.fields = [PointField(name=name, offset=4 * place, datatype=7, count=1) for place, name in enumerate("xyz")]
        points.data = array.array("B", np.array([0, 0, 1], "<f4").tobytes())
        points.header.stamp.sec, points.header.frame_id = 10 + late_ms, "lidar"
        depths.offer(points)
        if late_ms <= 1000 * TOLERANCE_S:
            assert depths.of(frame(stamp_ns, camera)).depth == pytest.approx([2.0]), late_ms
            continue
        with pytest.raises(SparseDepthError, match=r"TF of 'lidar' in 'optical' ends 0\.130 s before the image"):
            depths.of(frame(stamp_ns, camera))


def test_a_correction_does_not_outlive_the_rectification_it_was_fitted_with() -> None:
    """Which may leave the intrinsics as they were."""
    depths, align = fitter()
    depths.offer(sparse(2 * DEPTH, 10 * SECOND))
    assert align.align(answer(), frame(10 * SECOND))[0].scale_source == "sensor"
    optics = Rectification(Lens("plumb_bob", (-0.1, 0.0, 0.0, 0.0), CAMERA), CAMERA)
    later = dataclasses.replace(frame(10 * SECOND + SECOND // 2), optics=optics)
    assert align.align(answer(), later)[0].scale_source == "user"
