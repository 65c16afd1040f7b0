"""Stamps are matched to the nearest; depth of another size is sampled at pixel centres."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.registration import match_stamps, on_grid


def test_nearest_within_the_tolerance() -> None:
    assert match_stamps([0, 100, 200, 300], [95, 104, 220, 321], 20) == {100: 104, 200: 220}
    assert match_stamps([100], [90, 110], 20) == {100: 90}  # the earlier of two that are equally near
    assert match_stamps([100, 120], [110], 20) == {100: 110, 120: 110}  # a slower sensor serves both
    assert match_stamps([100], [], 20) == {}


@given(st.lists(st.integers(0, 500), unique=True), st.lists(st.integers(0, 500)), st.integers(0, 60))
def test_it_is_what_a_search_through_all_finds(images: list[int], references: list[int], tolerance: int) -> None:
    matches = match_stamps(images, references, tolerance)
    for stamp in images:
        distance = min((abs(other - stamp) for other in references), default=1000)
        assert (stamp in matches) == (distance <= tolerance)
        if stamp in matches:
            assert abs(matches[stamp] - stamp) == distance


def test_sampling_takes_the_pixel_under_each_centre() -> None:
    depth = np.arange(6 * 8, dtype=np.float32).reshape(6, 8)
    np.testing.assert_array_equal(on_grid(depth[:, :6], 2, 2), depth[1::3, 1:6:3])  # the middle one of every three
    np.testing.assert_array_equal(on_grid(depth, 12, 16), depth.repeat(2, 0).repeat(2, 1))
    assert on_grid(depth, 6, 8) is depth
    assert np.isin(on_grid(depth, 3, 4), depth).all()  # never a mean


def test_another_view_is_refused() -> None:
    with pytest.raises(BagError, match="640x480, the image 1280x720: give a depth topic aligned"):
        on_grid(np.ones((720, 1280), np.float32), 480, 640)
