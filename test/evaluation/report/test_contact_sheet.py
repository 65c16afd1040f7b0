"""A contact sheet shows what it says, with and without a reference."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.evaluation.report.contact_sheet import contact_sheet
from depth_retrofit_ros.evaluation.sequence import Answer, Measured, measure, upsampled
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.color_map import UNKNOWN_RGB

IMAGE = np.full((40, 80, 3), 90, np.uint8)
DEPTH = np.linspace(1.0, 2.0, 40 * 80, dtype=np.float32).reshape(40, 80)


def case(reference: np.ndarray | None) -> tuple[Answer, Measured | None]:
    answer = Answer(Frame(IMAGE), DEPTH, DEPTH[::8, ::8], True, None, reference, None if reference is None else 0)
    return answer, None if reference is None else measure(answer, upsampled(answer), "none")


def test_without_a_reference_one_row() -> None:
    answer, measured = case(None)
    picture = contact_sheet(IMAGE, upsampled(answer), measured)
    assert picture.shape == (40, 3 * 80 + 2 * 4, 3)


@pytest.mark.parametrize("step", [1, 2])
def test_with_a_reference_the_error_is_black_where_right_and_grey_where_unknown(step: int) -> None:
    reference = DEPTH[step // 2 :: step, step // 2 :: step].copy()
    height, width = reference.shape
    reference[:, : width // 4] = np.nan
    answer, measured = case(reference)
    picture = contact_sheet(IMAGE, upsampled(answer), measured)
    assert picture.shape == (2 * height + 4, 3 * width + 2 * 4, 3)
    error = picture[height + 4 :, 2 * (width + 4) :]  # the last panel of the lower row
    assert tuple(error[-1, 0]) == UNKNOWN_RGB
    assert error[-1, -1].max() < 10
