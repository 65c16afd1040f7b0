"""The picture shows the place that changed, in colours that tell it."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.report.comparison import most_changed, picture
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
