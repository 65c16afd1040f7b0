"""Which size a frame is brought to for a coarse model."""

from __future__ import annotations

import pytest

from depth_retrofit_ros.coarse.input_size import InputSize, chosen_size, long_side, short_side
from depth_retrofit_ros.errors import ModelError


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
    assert long_side(256, 16).of(*frame) == expected


def test_other_rules() -> None:
    assert short_side(518, 14).of(1080, 1920) == (518, 924)
    assert InputSize("area", (840,), 14).of(1440, 2560) == (630, 1120)  # 45 x 80 patches of 14 px: 3,600
    assert InputSize("exact", (192, 636)).of(1080, 1920) == (192, 636)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [((1440, 2560), (144, 256)), ((1440, 1920), (192, 256)), ((375, 1242), (112, 352)), ((1242, 375), (352, 112))],
)
def test_a_very_wide_frame_is_seen_as_large_as_another(frame: tuple[int, int], expected: tuple[int, int]) -> None:
    size = InputSize("long side and area", (256, 192), 16)
    assert size.of(*frame) == expected
    assert str(size) == "long side 256 and area of 192x192"


@pytest.mark.parametrize("frame", [(1, 65535), (65535, 1), (7, 60000)])
def test_no_strip_costs_more_than_its_area(frame: tuple[int, int]) -> None:
    for size in (InputSize("long side and area", (256, 192), 16), InputSize("area", (485,), 14)):
        height, width = size.of(*frame)
        assert min(height, width) == size.multiple
        assert height * width == pytest.approx(size.pixels[-1] ** 2, rel=0.01)


def test_what_the_user_asks_for() -> None:
    usual, native = long_side(504, 14), short_side(518, 14)
    assert chosen_size("model", usual, native, None) == usual
    assert chosen_size("model", usual, native, "native") == native
    assert chosen_size("model", usual, native, "default") == usual
    assert chosen_size("model", usual, native, 256) == chosen_size("model", usual, native, "256") == long_side(256, 14)


@pytest.mark.parametrize(
    ("usual", "asked", "told"),
    [
        (long_side(504, 14), "small", "a coarse size is a number of pixels, 'native' or 'default', not 'small'"),
        (long_side(504, 14), "-256", "a coarse size of -256 px is outside 14…4096"),
        (long_side(504, 14), 5000, "a coarse size of 5000 px is outside 14…4096"),
        (long_side(504, 14), 0, "a coarse size of 0 px is outside 14…4096"),
        (InputSize("exact", (192, 256)), 256, "model takes 256x192 only: leave its size out"),
    ],
)
def test_what_it_cannot_be(usual: InputSize, asked: int | str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        chosen_size("model", usual, usual, asked)
