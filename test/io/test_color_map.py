import numpy as np
import pytest

from depth_retrofit_ros.io.color_map import UNKNOWN_RGB, colorize, colorize_normals, depth_range


def test_near_is_warm_far_is_cold_unknown_is_grey() -> None:
    depth = np.array([[1.0, 2.0, 10.0, np.nan, np.inf, 0.0, -3.0]], np.float32)
    rgb = colorize(depth, (1.0, 10.0)).astype(int)
    red, blue = rgb[0, :, 0], rgb[0, :, 2]
    assert red[0] > 100 and blue[0] < 60
    assert blue[2] > red[2]
    assert (rgb[0, 3:] == UNKNOWN_RGB).all()
    assert not (rgb[0, :3] == UNKNOWN_RGB).all(axis=1).any()


def test_colours_depend_on_proportions_only() -> None:
    depth = np.random.default_rng(0).uniform(0.5, 8.0, (40, 60)).astype(np.float32)
    np.testing.assert_array_equal(colorize(depth), colorize(4 * depth))


def test_a_few_outliers_do_not_change_the_others() -> None:
    depth = np.tile(np.linspace(1, 5, 100, dtype=np.float32), (100, 1))
    spoiled = depth.copy()
    spoiled[0, 0], spoiled[0, 1] = 1e6, 1e-6
    change = np.abs(colorize(depth)[1:].astype(int) - colorize(spoiled)[1:].astype(int))
    assert change.max() <= 8
    near_far = depth_range(spoiled)
    assert near_far is not None
    assert near_far == pytest.approx((1.08, 4.92), abs=0.1)


def test_out_is_used_and_nothing_known_is_all_grey() -> None:
    out = np.zeros((4, 5, 3), np.uint8)
    rgb = colorize(np.full((4, 5), np.nan, np.float32), out=out)
    assert np.shares_memory(rgb, out)
    assert (out == UNKNOWN_RGB).all()
    assert depth_range(np.full((4, 5), np.nan, np.float32)) is None


def test_constant_depth_and_a_single_known_pixel_are_fine() -> None:
    assert colorize(np.full((3, 3), 2.0, np.float32)).std(axis=(0, 1)).max() == 0
    lonely = np.full((500, 500), np.nan, np.float32)
    lonely[333, 331] = 2.0
    near_far = depth_range(lonely)
    assert near_far == (2.0, 2.0)
    assert (colorize(lonely)[333, 331] != UNKNOWN_RGB).any()


def test_normals_have_the_customary_colours() -> None:
    normals = np.zeros((3, 1, 5), np.float32)
    normals[:, 0, :4] = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0], [-1, 0, 0]], np.float32).T
    normals[:, 0, 4] = np.nan
    picture = colorize_normals(normals)
    assert picture[0].tolist() == [[128, 128, 255], [255, 128, 128], [128, 255, 128], [0, 128, 128], [40, 40, 40]]
    out = np.empty((1, 5, 3), np.uint8)
    assert colorize_normals(normals, out=out) is out
    np.testing.assert_array_equal(out, picture)
