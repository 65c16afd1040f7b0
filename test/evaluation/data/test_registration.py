"""Stamps are matched to the nearest; depth of another size is sampled at pixel centres."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.registration import Times, distances_ns, match_references, on_grid, shared_stamps


def times(stamps: list[int], recorded: list[int] | None = None) -> list[Times]:
    return [Times(*pair) for pair in zip(stamps, stamps if recorded is None else recorded, strict=True)]


def matched(images: list[Times], references: list[Times], tolerance: int) -> dict[int, int]:
    """Stamp of the image → stamp of its reference."""
    return {images[i].stamp_ns: references[j].stamp_ns for i, j in match_references(images, references, tolerance).items()}


def test_nearest_within_the_tolerance() -> None:
    assert matched(times([0, 100, 200, 300]), times([95, 104, 220, 321]), 20) == {100: 104, 200: 220}
    assert matched(times([100]), times([90, 110]), 20) == {100: 90}  # the earlier of two that are equally near
    assert matched(times([100, 120]), times([110]), 20) == {100: 110, 120: 110}  # a slower sensor serves both
    assert matched(times([100]), [], 20) == {}


@given(st.lists(st.integers(0, 500), unique=True), st.lists(st.integers(0, 500)), st.integers(0, 60))
def test_it_is_what_a_search_through_all_finds(images: list[int], references: list[int], tolerance: int) -> None:
    matches = matched(times(images), times(references), tolerance)
    for stamp in images:
        distance = min((abs(other - stamp) for other in references), default=1000)
        assert (stamp in matches) == (distance <= tolerance)
        if stamp in matches:
            assert abs(matches[stamp] - stamp) == distance
    expected = [min(abs(other - stamp) for other in references) for stamp in images] if references else []
    assert distances_ns(times(images), times(references)) == expected


def test_one_stamp_twice_is_told_apart_by_the_time_of_recording() -> None:
    images = times([0, 100, 100, 300], recorded=[5, 105, 205, 305])
    assert match_references(images, times([0, 100, 200, 300], recorded=[6, 106, 206, 306]), 20) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert match_references(images, times([0, 100, 300], recorded=[6, 106, 306]), 20) == {0: 0, 1: 1, 3: 2}
    assert shared_stamps(images) == 1


def test_where_as_many_share_a_stamp_the_order_tells() -> None:
    zero = [0] * 4
    assert match_references(times(zero), times(zero), 20) == {0: 0, 1: 1, 2: 2, 3: 3}
    loop = times([0, 100, 200] * 2)
    assert match_references(loop, times([3, 103, 203] * 2), 20) == {i: i for i in range(6)}


def test_zero_stamps_on_one_side_only_are_matched_by_the_time_of_recording() -> None:
    images = times([0, 0, 0], recorded=[1000, 1100, 1200])
    assert match_references(images, times([1001, 1101, 1201]), 20) == {0: 0, 1: 1, 2: 2}
    assert match_references(images, times([0, 0], recorded=[1001, 1201]), 20) == {0: 0, 2: 1}
    assert match_references(times([1000, 1100]), times([1000] * 2, recorded=[990, 1010]), 20) == {0: 0}


def test_sampling_takes_the_pixel_under_each_centre() -> None:
    depth = np.arange(6 * 8, dtype=np.float32).reshape(6, 8)
    np.testing.assert_array_equal(on_grid(depth[:, :6], 2, 2), depth[1::3, 1:6:3])  # the middle one of every three
    np.testing.assert_array_equal(on_grid(depth, 12, 16), depth.repeat(2, 0).repeat(2, 1))
    assert on_grid(depth, 6, 8) is depth
    assert np.isin(on_grid(depth, 3, 4), depth).all()  # never a mean


def test_another_view_is_refused() -> None:
    with pytest.raises(BagError, match="640x480, the image 1280x720: give a depth topic aligned"):
        on_grid(np.ones((720, 1280), np.float32), 480, 640)
