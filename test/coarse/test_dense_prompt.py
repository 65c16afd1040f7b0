"""Sparse depth becomes a small dense map: known where it is known, the closest elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.coarse.dense_prompt import dense_prompt
from depth_retrofit_ros.frame import SparseDepth


def metres(sparse: SparseDepth, height: int, width: int) -> np.ndarray:
    prompt = dense_prompt(sparse, height, width)
    assert prompt.depth.dtype == np.float32
    assert float(prompt.depth.min()) == 0.0 and float(prompt.depth.max()) == pytest.approx(1.0)
    return prompt.near + prompt.depth.astype(np.float64) * (prompt.far - prompt.near)


@pytest.mark.parametrize(("frame", "grid"), [((480, 640), (192, 256)), ((1440, 1920), (192, 256)), ((1280, 720), (256, 144))])
def test_the_grid_has_the_frame_s_aspect(frame: tuple[int, int], grid: tuple[int, int]) -> None:
    sparse = SparseDepth(np.array([0, frame[0] * frame[1] - 1]), np.array([1.0, 3.0]))
    dense = metres(sparse, *frame)
    assert dense.shape == grid
    np.testing.assert_allclose((dense[0, 0], dense[-1, -1]), (1.0, 3.0), atol=1e-6)


def test_each_cell_has_the_depth_of_the_closest_known_one() -> None:
    rng = np.random.default_rng(0)
    height, width = 192, 256  # of the grid's own size, so that a pixel is a cell
    pixels = rng.choice(height * width, 60, replace=False)
    sparse = SparseDepth(pixels, 1.0 + 0.1 * np.arange(60))
    dense = metres(sparse, height, width)
    v, u = np.divmod(pixels, width)
    np.testing.assert_allclose(dense[v, u], sparse.depth, atol=1e-5)
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows[..., None] - v, columns[..., None] - u)
    taken = np.take_along_axis(distance, np.rint(10 * (dense - 1.0)).astype(int)[..., None], 2)[..., 0]
    assert float((taken - distance.min(2)).max()) <= 0.03 * float(distance.min(2).max())  # a distance transform of whole steps


def test_of_several_depths_in_a_cell_the_nearest_counts() -> None:
    """The farther ones are what a LiDAR beside the camera sees behind an edge."""
    sparse = SparseDepth(np.array([0, 1, 4, 4 * 640 * 100]), np.array([7.0, 2.0, 5.0, 9.0]))
    assert metres(sparse, 480 * 4, 640 * 4)[0, 0] == pytest.approx(2.0)


def test_depths_that_are_all_alike_are_a_flat_prompt() -> None:
    prompt = dense_prompt(SparseDepth(np.arange(0, 4000, 100), np.full(40, 3.0)), 60, 80)
    assert (prompt.near, prompt.far) == (3.0, 3.0) and not prompt.depth.any()
