"""The grid on which a stored map is refined."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.coarse.map_detail import averaged, edge_width, grid_for
from depth_retrofit_ros.errors import DatasetError


def blocks(height: int = 120, width: int = 160) -> np.ndarray:
    """Inverse depth with sharp edges: ``float32 [h, w]``."""
    rng = np.random.default_rng(3)
    inverse = np.full((height, width), 0.1, np.float32)
    for _ in range(14):
        y, x = rng.integers(0, height - 30), rng.integers(0, width - 30)
        inverse[y : y + 25, x : x + 25] = rng.uniform(0.2, 1.0)
    return inverse


def enlarged(inverse: np.ndarray, times: float) -> np.ndarray:
    return np.asarray(cv2.resize(inverse, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR))


def test_a_map_up_to_half_of_the_frame_is_as_it_was_made() -> None:
    for soft in (blocks(), enlarged(blocks(60, 80), 2)):
        assert grid_for(soft, (240, 320), None) == (120, 160)


def test_a_sharp_map_is_at_its_own_resolution_however_large() -> None:
    assert edge_width(blocks()) == pytest.approx(1.0, abs=0.05)
    assert grid_for(blocks(), (120, 160), None) == (120, 160)


@pytest.mark.parametrize("times", [2.0, 3.0])
def test_a_map_that_was_made_larger_comes_back_to_about_its_own_size(times: float) -> None:
    large = enlarged(blocks(), times)
    height, width = grid_for(large, large.shape, None)
    assert 0.6 * 160 <= width <= 1.3 * 160 and abs(height / width - 120 / 160) < 0.02


def test_a_map_without_edges_is_left_as_it_is() -> None:
    flat = np.full((120, 160), 0.5, np.float32)
    assert edge_width(flat) == 0.0 and grid_for(flat, (120, 160), None) == (120, 160)


def test_holes_are_no_edges() -> None:
    holes = np.full((120, 160), 0.5, np.float32)
    holes[::12, ::12] = np.nan
    assert edge_width(holes) == 0.0


def test_the_size_that_is_asked_for() -> None:
    large = enlarged(blocks(), 2)
    assert grid_for(large, (240, 320), "native") == (240, 320)
    assert grid_for(large, (240, 320), 80) == (60, 80)
    assert grid_for(large, (240, 320), 5000) == (240, 320)


def test_no_grid_is_larger_than_its_frame() -> None:
    assert grid_for(enlarged(blocks(), 2), (100, 150), "native") == (100, 150)
    assert grid_for(np.ones((300, 301), np.float32), (100, 320), "native") == (100, 301)


@pytest.mark.parametrize("frame", [(480, 640), (640, 480), (481, 480)])
def test_square_and_hardly_stretched_maps_are_of_any_frame_and_turned_ones_of_none(frame: tuple[int, int]) -> None:
    assert grid_for(np.ones((384, 384), np.float32), frame, "native") == (384, 384)
    assert grid_for(np.ones((37, 49), np.float32), (480, 640), None) == (37, 49)
    if frame[0] != 481:
        with pytest.raises(DatasetError, match="turn it as the image is shown"):
            grid_for(np.ones((frame[1] // 4, frame[0] // 4), np.float32), frame, None)


def test_one_row_stays_one() -> None:
    assert grid_for(np.ones((1, 200), np.float32), (90, 120), None) == (1, 120)
    assert averaged(np.ones((1, 200), np.float32), (1, 120)).shape == (1, 120)


def test_cells_are_the_mean_of_what_is_known() -> None:
    inverse = np.array([[1, 3, np.nan, np.nan], [1, 3, np.nan, 8]], np.float32)
    np.testing.assert_array_equal(averaged(inverse, (1, 2)), [[2, np.nan]])
    inverse[0, 3] = 4
    np.testing.assert_array_equal(averaged(inverse, (1, 2)), [[2, 6]])
    assert averaged(inverse, (2, 4)) is inverse
