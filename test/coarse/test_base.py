"""The size of a coarse model's input."""

from __future__ import annotations

import pytest

from depth_retrofit_ros.coarse.base import fit_long_side


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ((1440, 2560), (144, 256)),
        ((1440, 1920), (192, 256)),
        ((1920, 1440), (256, 192)),
        ((720, 1280), (144, 256)),
        ((3, 4000), (16, 256)),
    ],
)
def test_coarse_size_keeps_the_aspect(frame: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit_long_side(*frame, long_side=256, multiple=16) == expected
