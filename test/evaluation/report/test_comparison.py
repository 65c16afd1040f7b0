"""The picture shows the place that changed, in colours that tell it."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.report.comparison import most_changed, most_gained, picture
from depth_retrofit_ros.io.color_map import UNKNOWN_RGB


def test_the_window_contains_what_changed() -> None:
    coarse = np.full((90, 160), 2.0, np.float32)
    refined = coarse.copy()
    refined[60:70, 120:130] = 3.0
    rows, columns = most_changed(coarse, refined)
    assert rows.start <= 60 and rows.stop >= 70 and columns.start <= 120 and columns.stop >= 130
    assert (rows.stop - rows.start, columns.stop - columns.start) == (14, 26)
    assert rows.stop <= 90 and columns.stop <= 160


@pytest.mark.parametrize("shape", [(90, 160), (1, 1), (3, 500)])
@pytest.mark.parametrize("with_reference", [False, True])
def test_picture_of_any_shape(shape: tuple[int, int], with_reference: bool) -> None:
    depth = np.full(shape, 2.0, np.float32)
    reference = np.full(shape, np.inf, np.float32) if with_reference else None
    maps = dict.fromkeys(("nearest", "bilinear", "refined"), depth)
    out = picture(np.zeros((*shape, 3), np.uint8), maps, reference, panel_width=80)
    assert out.dtype == np.uint8 and out.shape[2] == 3 and out.shape[0] > shape[0] * min(1, 80 / shape[1])


def test_a_local_offset_does_not_swallow_the_colours_of_the_magnified_place() -> None:
    """The reference is scaled there anew: its colours and those of the refined depth agree, whatever the rest of the frame does."""
    image = np.zeros((100, 200, 3), np.uint8)
    refined = np.full((100, 200), 4.0, np.float32)
    refined[40:48, 90:106], refined[48:56, 90:106] = 1.0, 1.5
    reference = np.full((100, 200), 4.0, np.float32)
    reference[40:56, 90:106] = 0.3 * refined[40:56, 90:106]
    coarse = np.full((100, 200), 4.0, np.float32)
    assert most_changed(coarse, refined) == (slice(40, 56), slice(74, 106))
    out = picture(image, {"nearest": coarse, "bilinear": coarse, "refined": refined}, reference, panel_width=200)
    crops = out[104:]
    column = round(crops.shape[1] / 4 * 2.75)  # of the four panels the third, and in it what is right of the middle
    near, far = (crops[round(crops.shape[0] * share), column].astype(int) for share in (0.25, 0.75))
    assert np.abs(near - far).max() > 50  # 1.0 and 1.5 m have different colours
    assert tuple(near) != UNKNOWN_RGB


def test_the_place_is_where_the_error_fell_and_not_where_depth_changed() -> None:
    reference = np.full((90, 160), 2.0, np.float32)
    coarse, refined = reference.copy(), reference.copy()
    coarse[60:66, 120:126] = 2.6  # mended
    refined[10:24, 20:40] = 3.0  # spoiled
    reference[30:60, 60:90] = np.nan  # unknown, and changed
    refined[30:60, 60:90] = 4.0
    (rows, columns), gain = most_gained(coarse, refined, reference)
    assert rows.start <= 60 and rows.stop >= 66 and columns.start <= 120 and columns.stop >= 126
    assert gain == pytest.approx(36 * np.log(1.3) / (14 * 26), rel=1e-5)
    assert most_changed(coarse, refined) != (rows, columns)


def test_one_pixel_that_is_far_off_does_not_decide() -> None:
    reference = np.full((90, 160), 2.0, np.float32)
    coarse, refined = reference.copy(), reference.copy()
    coarse[5, 5], coarse[60:66, 120:126] = 2000.0, 2.2
    (rows, columns), _ = most_gained(coarse, refined, reference)
    assert rows.start > 5 and columns.start > 5


def test_the_picture_shows_the_place_that_it_is_given() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    image[10:24, 20:46] = (10, 200, 30)
    maps = dict.fromkeys(("nearest", "bilinear", "refined"), np.full((90, 160), 2.0, np.float32))
    out = picture(image, maps, None, panel_width=160, window=(slice(10, 24), slice(20, 46)))
    crop = out[94:, :160]
    assert (crop[crop.shape[0] // 2 :, :100] == (10, 200, 30)).all()
