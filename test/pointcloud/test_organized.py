import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.pointcloud.organized import (
    POINT_STEP,
    cloud_size,
    fill_cloud,
    make_cloud,
)


def specification(depth: np.ndarray, image: np.ndarray, camera: Camera, stride: int) -> np.ndarray:
    """Plain numpy, written from the camera model of the subsampled image."""
    depth, image, camera = depth[::stride, ::stride].astype(np.float64), image[::stride, ::stride], camera.strided(stride)
    z = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    v, u = np.mgrid[: camera.height, : camera.width]
    points = np.stack(((u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z), axis=-1)
    rgb = image.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    return np.concatenate((points.astype(np.float32), rgb.astype(np.uint32).view(np.float32)[..., None]), axis=-1)


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray, Camera]:
    rng = np.random.default_rng(height * 1000 + width)
    depth = rng.uniform(0.3, 20.0, (height, width)).astype(np.float32)
    for bad in (np.nan, np.inf, -np.inf, 0.0, -1.0):
        depth[rng.random(depth.shape) < 0.05] = bad
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return depth, image, Camera(width, height, 0.8 * width, 0.9 * width, 0.47 * width, 0.55 * height)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 1), (48, 64), (31, 45)])
@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_cloud_equals_the_specification(height: int, width: int, stride: int) -> None:
    depth, image, camera = scene(height, width)
    expected = specification(depth, image, camera, stride)
    cloud = make_cloud(depth, image, camera, stride)
    assert cloud.shape == (*cloud_size(height, width, stride), 4)
    np.testing.assert_allclose(cloud[..., :3], expected[..., :3], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(cloud.view(np.uint32)[..., 3], expected.view(np.uint32)[..., 3])


def test_points_are_invalid_as_a_whole_and_colours_survive_bit_patterns_that_are_nan() -> None:
    depth = np.full((2, 2), np.nan, np.float32)
    image = np.full((2, 2, 3), 255, np.uint8)
    cloud = make_cloud(depth, image, Camera(2, 2, 1.0, 1.0, 0.5, 0.5))
    assert np.isnan(cloud[..., :3]).all()
    assert (cloud.view(np.uint32)[..., 3] == 0x00FFFFFF).all()


def test_the_buffer_is_written_completely_and_no_further() -> None:
    depth, image, camera = scene(6, 8)
    memory = np.full(6 * 8 * 4 + 1, 7.0, np.float32)
    out = memory[:-1].reshape(6, 8, 4)
    fill_cloud(depth, image, camera, out)
    assert memory[-1] == 7.0
    np.testing.assert_array_equal(out.view(np.uint32), make_cloud(depth, image, camera).view(np.uint32))
    assert out.strides[1] == POINT_STEP


@pytest.mark.parametrize("what", ["image", "camera", "shape", "dtype", "strides"])
def test_sizes_that_do_not_agree_are_refused(what: str) -> None:
    depth, image, camera = scene(6, 8)
    out = np.empty((6, 8, 4), np.float32)
    if what == "image":
        image = image[:5]
    elif what == "camera":
        camera = camera.resized(16, 12)
    elif what == "shape":
        out = out[:, :7]
    elif what == "dtype":
        out = out.astype(np.float64)
    else:
        out = np.empty((4, 8, 6), np.float32).transpose(2, 1, 0)
    with pytest.raises(ValueError, match="must"):
        fill_cloud(depth, image, camera, out)
