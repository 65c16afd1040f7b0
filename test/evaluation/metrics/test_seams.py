"""Errors at the sides of tiles, on cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_retrofit_ros.evaluation.metrics.seams import Seams, overlap_error, seam_error
from depth_retrofit_ros.refinement.tiles.layout import TileLayout

ALL = np.ones((6, 8), bool)


@pytest.mark.parametrize(("size", "side", "overlap"), [((300, 500), 128, 16), ((128, 200), 128, 16), ((97, 64), 32, 0)])
def test_seams_run_where_tiles_begin_and_end(size: tuple[int, int], side: int, overlap: int) -> None:
    seams = Seams.of(size, side, overlap)
    layout = TileLayout(size, side, overlap)
    starts = layout.starts(torch.device("cpu"))
    for lines, first, high in zip((seams.rows, seams.columns), starts, size, strict=True):
        ends = {int(start) for start in first} | {int(start) + side for start in first}
        assert set(lines) == {end for end in ends if 0 < end < high}


@pytest.mark.parametrize("size", [(300, 500), (129, 200), (720, 1280), (1080, 1920), (1440, 2560), (2160, 3840)])
@pytest.mark.parametrize(("side", "overlap"), [(128, 16), (128, 0), (128, 64), (256, 32), (64, 8)])
def test_lines_beside_seams_lie_far_from_every_seam(size: tuple[int, int], side: int, overlap: int) -> None:
    """By a quarter of the widest gap; for tiles that fill the frame evenly that is about a quarter of a tile, or more."""
    seams = Seams.of(size, side, overlap)
    beside = seams.beside(size)
    for lines, others, high in zip((seams.rows, seams.columns), (beside.rows, beside.columns), size, strict=True):
        assert bool(lines) == bool(others)
        if not lines:
            continue
        gaps = np.diff([0, *lines, high])
        nearest = min(abs(line - other) for line in lines for other in others)
        assert nearest >= gaps.max() // 4 and all(0 < other < high for other in others)
        if high >= 5 * side:
            assert nearest >= (side - 2 * overlap) // 4
            assert len(others) >= len(lines) // 2


def test_lines_beside_seams_by_hand() -> None:
    # tiles at 0, 86, 172 of 300 px; at 0, 93, 186, 279 and 372 of 500 px
    assert Seams.of((300, 500), 128, 16) == Seams((86, 128, 172, 214), (93, 128, 186, 221, 279, 314, 372, 407))
    assert Seams.of((300, 500), 128, 16).beside((300, 500)) == Seams((43, 150, 257), (46, 157, 250, 343, 453))
    assert Seams((), ()).beside((64, 128)) == Seams((), ())


def test_one_tile_has_no_seams() -> None:
    assert Seams.of((64, 128), 128, 16) == Seams((), ())
    assert math.isnan(seam_error(np.ones((6, 8), np.float32), np.ones((6, 8), np.float32), Seams((), ()), ALL))


def test_a_step_at_a_seam_counts_and_one_beside_it_does_not() -> None:
    truth = np.full((6, 8), 2.0, np.float32)
    depth = truth.copy()
    depth[:, 4:] *= np.exp(0.2)
    seams = Seams((3,), (4,))
    # six pairs across the column, eight across the row, of which none steps
    assert seam_error(depth, truth, seams, ALL) == pytest.approx(6 * 0.2 / 14)
    assert seam_error(depth, truth, Seams((), (4,)), ALL) == pytest.approx(0.2)
    assert seam_error(depth, truth, Seams((), (4,)).beside((6, 8)), ALL) == 0
    assert seam_error(7 * depth, 3 * truth, Seams((), (4,)), ALL) == pytest.approx(0.2)  # in any unit


def test_only_pairs_of_one_surface_that_are_known_and_refined_count() -> None:
    truth = np.full((6, 8), 2.0, np.float32)
    depth = truth.copy()
    depth[:, 4:] *= np.exp(0.1)
    seams = Seams((), (4,))
    edge = truth.copy()
    edge[:3, 4:] = 3.0  # a true edge in three rows, which the step is not charged for
    assert seam_error(depth, edge, seams, ALL) == pytest.approx(0.1)
    assert math.isnan(seam_error(depth, np.where(np.arange(8) < 4, truth, 3.0).astype(np.float32), seams, ALL))
    assert math.isnan(seam_error(depth, truth, seams, ~ALL))
    beside = ~ALL
    beside[2, 4] = True  # one pixel of one pair is enough
    depth[2, 4:] *= np.exp(0.1)
    assert seam_error(depth, truth, seams, beside) == pytest.approx(0.2)
    unknown = truth.copy()
    unknown[:, 3] = np.nan
    assert math.isnan(seam_error(depth, unknown, seams, ALL))


def test_a_slope_is_no_seam() -> None:
    truth = np.tile(np.exp(0.01 * np.arange(8, dtype=np.float32)), (6, 1))
    assert seam_error(truth, truth, Seams((), (4,)), ALL) == pytest.approx(0, abs=1e-6)
    assert seam_error(np.ones_like(truth), truth, Seams((), (4,)), ALL) == pytest.approx(0.01, rel=1e-3)


def test_neighbours_that_disagree_by_hand() -> None:
    starts = np.array([[0, 0], [0, 3], [2, 0]])
    answers = np.stack([np.full((4, 4), value, np.float32) for value in (0.0, 0.5, -0.25)])
    picked = np.ones((6, 7), bool)
    # the first two share 4 x 1 pixels, the first and third 2 x 4, the last two 2 x 1
    expected = (4 * 0.5 + 8 * 0.25 + 2 * 0.75) / 14
    assert overlap_error(starts, answers, picked) == pytest.approx(expected)
    picked[:] = False
    assert math.isnan(overlap_error(starts, answers, picked))
    picked[3, 3] = True  # of all three
    assert overlap_error(starts, answers, picked) == pytest.approx((0.5 + 0.25 + 0.75) / 3)
    assert math.isnan(overlap_error(np.array([[0, 0], [4, 0]]), answers[:2], np.ones((8, 4), bool)))
