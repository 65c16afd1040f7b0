"""The classes of pixels, on truths whose thin things, gaps and edges are known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.evaluation.metrics import classes
from depth_retrofit_ros.evaluation.metrics.classes import CLASSES, UNKNOWN, class_errors, class_shares, pixel_classes

CELL = 5.0  # px: what is up to 8 px wide is thinner than two cells
FAR, NEAR = 6.0, 2.0
WIDE = np.full((80, 160), FAR, np.float32)


def named(depth: np.ndarray, name: str, cell_px: float = CELL) -> np.ndarray:
    return np.asarray(pixel_classes(depth, cell_px) == CLASSES.index(name))


def with_bar(width: int, depth: float = NEAR, behind: float = FAR) -> np.ndarray:
    out = np.full_like(WIDE, behind)
    out[:, 60 : 60 + width] = depth
    return out


@pytest.mark.parametrize(("width", "thin"), [(1, True), (8, True), (9, False), (40, False)])
def test_a_bar_is_thin_up_to_two_cells(width: int, thin: bool) -> None:
    bar = with_bar(width)
    assert np.array_equal(named(bar, "thin"), (bar == NEAR) if thin else np.zeros_like(bar, bool))
    assert not named(bar, "gaps").any()


def test_what_is_thin_depends_on_the_coarse_map() -> None:
    bar = with_bar(15)
    assert not named(bar, "thin", 5.0).any() and named(bar, "thin", 10.0).sum() == (bar == NEAR).sum()
    assert not named(with_bar(1), "thin", 1.0).any()  # as fine as the frame: nothing is lost


@pytest.mark.parametrize("width", [2, 8])
def test_a_gap_is_the_opposite(width: int) -> None:
    slit = with_bar(width, depth=FAR, behind=NEAR)
    assert np.array_equal(named(slit, "gaps"), slit == FAR) and not named(slit, "thin").any()


@pytest.mark.parametrize(("width", "thin"), [(4, True), (5, False)])
def test_of_what_the_frame_cuts_off_half_may_be_outside(width: int, thin: bool) -> None:
    depth = WIDE.copy()
    depth[:, :width] = NEAR
    assert np.array_equal(named(depth, "thin"), (depth == NEAR) & thin)


def test_a_diagonal_bar_is_as_thin_as_an_upright_one() -> None:
    row, column = np.mgrid[0:160, 0:160]
    for width, thin in ((6, True), (12, False)):
        bar = np.where(np.abs(row - column) < width / 2 * math.sqrt(2), NEAR, FAR).astype(np.float32)
        inside = (bar == NEAR) & (row > 20) & (row < 140)
        assert named(bar, "thin")[inside].mean() == (1 if thin else 0)


def test_the_thing_must_stand_out_by_a_tenth() -> None:
    assert not named(with_bar(4, depth=FAR / 1.09), "thin").any()
    assert named(with_bar(4, depth=FAR / 1.11), "thin").any()


def test_edges_are_within_a_cell_and_those_near_a_thin_thing_a_class_of_their_own() -> None:
    depth = WIDE.copy()
    depth[:, 120:] = 3.0
    depth[:, 60:63] = NEAR
    row = pixel_classes(depth, CELL)[40]
    numbers = {name: np.flatnonzero(row == i).tolist() for i, name in enumerate(CLASSES)}
    assert numbers["thin"] == [60, 61, 62] and numbers["gaps"] == []
    assert numbers["beside_thin"] == [*range(55, 60), *range(63, 68)]
    assert numbers["edges"] == list(range(115, 125))
    assert len(numbers["elsewhere"]) == 160 - 3 - 10 - 10
    depth[:, 70:] = 3.0  # another edge, two cells beside the thing
    row = pixel_classes(depth, CELL)[40]
    assert CLASSES[row[72]] == "beside_thin" and CLASSES[row[73]] == "edges"


def test_a_pole_before_the_sky_is_thin_and_the_sky_has_no_class() -> None:
    pole = with_bar(4, behind=np.inf)
    got = pixel_classes(pole, CELL)
    assert (got[pole == NEAR] == CLASSES.index("thin")).all() and (got[pole != NEAR] == UNKNOWN).all()
    assert not named(with_bar(40, behind=np.inf), "thin").any()


def test_ground_before_the_sky_is_neither_thin_nor_a_gap() -> None:
    ground = WIDE.copy()
    ground[:40] = np.inf
    assert set(np.unique(pixel_classes(ground, CELL))) == {CLASSES.index("elsewhere"), UNKNOWN}


def test_unknown_pixels_take_no_part() -> None:
    """A hole of a sensor makes nothing thin, and hides nothing that is."""
    holed = WIDE.copy()
    holed[10:30, 20:40] = np.nan
    holed[50, ::2] = 0
    got = pixel_classes(holed, CELL)
    assert set(np.unique(got)) == {CLASSES.index("elsewhere"), UNKNOWN}
    assert np.array_equal(got == UNKNOWN, ~(holed > 0))
    bar = with_bar(4)
    bar[20:60:3] = np.nan
    assert np.array_equal(named(bar, "thin"), bar == NEAR)


@pytest.mark.parametrize("side", [1, 3, 5, 7, 9, 11, 19, 41, 79])
def test_the_disc_is_whole_round_and_as_wide_as_told(side: int) -> None:
    point = np.zeros((101, 101), np.float32)
    point[50, 50] = 1
    disc = classes._spread(point, side, cv2.dilate) > 0
    rows, columns = np.nonzero(disc)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == side
    assert np.array_equal(disc, disc.T) and np.array_equal(disc, disc[::-1]) and np.array_equal(disc, disc[:, ::-1])
    row, column = np.mgrid[-50:51, -50:51]
    assert disc[np.hypot(row, column) <= (side - 1) / 2].all()
    if side > 5:
        assert not disc[np.hypot(row, column) > 0.6 * side].any()


@pytest.mark.parametrize("side", [3, 9, 11, 21])
@pytest.mark.parametrize("extreme", [cv2.dilate, cv2.erode])
def test_every_value_has_its_whole_disc_up_to_the_border(side: int, extreme: classes.Filter) -> None:
    point = np.zeros((side, side), np.float32)
    point[side // 2, side // 2] = 1
    disc = (classes._spread(point, side, cv2.dilate) > 0).astype(np.uint8)
    values = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    assert np.array_equal(classes._spread(values, side, extreme), extreme(values, disc))


def test_errors_and_shares_by_hand() -> None:
    number = np.array([[0, 0, 2], [4, 4, UNKNOWN]], np.uint8)
    truth = np.array([[1, 1, 1], [2, 2, np.nan]], np.float32)
    depth = np.array([[2, 0.5, 1], [2, np.nan, 3]], np.float32)
    errors = class_errors(depth, truth, number)
    assert errors["thin"] == pytest.approx(math.log(2)) and errors["beside_thin"] == errors["elsewhere"] == 0
    assert math.isnan(errors["gaps"])
    chosen = np.array([[1, 0, 0], [1, 1, 1]], bool)
    assert math.isnan(class_errors(depth, truth, number, chosen)["beside_thin"])
    share, selected = class_shares(number, chosen)
    assert share == {"thin": 0.4, "gaps": 0, "beside_thin": 0.2, "edges": 0, "elsewhere": 0.4}
    assert (selected["thin"], selected["beside_thin"], selected["elsewhere"]) == (0.5, 0, 1) and math.isnan(selected["gaps"])


def test_nothing_known() -> None:
    nothing = pixel_classes(np.full((8, 8), np.nan, np.float32), CELL)
    assert (nothing == UNKNOWN).all()
    share, selected = class_shares(nothing, np.ones((8, 8), bool))
    assert all(math.isnan(x) for x in (*share.values(), *selected.values()))
