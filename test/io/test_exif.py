"""EXIF: which side is up, and the focal length however the camera tells it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_retrofit_ros.io.exif import Exif, block_tags, read_exif, upright
from test.io.exifs import DIGITAL_ZOOM, FOCAL_35MM, FOCAL_LENGTH, HEIGHT, PLANE_RESOLUTION, PLANE_UNIT, WIDTH, Value, exif

# 36 x 24 mm and 50 mm.
FULL_FRAME: dict[int, Value] = {FOCAL_LENGTH: (50, 1), WIDTH: 3600, HEIGHT: 2400, PLANE_RESOLUTION: (1000, 1), PLANE_UNIT: 3}


def read(block: bytes, width: int = 3600, height: int = 2400) -> Exif:
    return read_exif(lambda: block_tags(block), width, height)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_both_byte_orders_with_and_without_prefix(order: str, prefix: bytes) -> None:
    assert read(prefix + exif({FOCAL_35MM: 26}, 6, order)) == Exif(6, 26.0)


@pytest.mark.parametrize("focal", [0, 1, 65535])
def test_a_focal_length_that_no_lens_has_is_unknown(focal: int) -> None:
    assert read(exif({FOCAL_35MM: focal})).focal_35mm is None


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    assert read(exif({}, orientation)).orientation == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 50.0),
        ({FOCAL_35MM: 0}, 50.0),
        ({FOCAL_35MM: 26}, 26.0),  # told outright, it needs no sensor
        ({PLANE_UNIT: 2, PLANE_RESOLUTION: (2540, 1)}, 50.0),
        ({PLANE_UNIT: 4, PLANE_RESOLUTION: (100, 1)}, 50.0),
        ({DIGITAL_ZOOM: (2, 1)}, 100.0),
        ({DIGITAL_ZOOM: (0, 1)}, 50.0),  # "not used"
        ({DIGITAL_ZOOM: (0, 0)}, 50.0),
        ({DIGITAL_ZOOM: (5000, 1)}, None),
        ({FOCAL_LENGTH: (0, 1)}, None),
        ({FOCAL_LENGTH: (50, 0)}, None),
        ({PLANE_RESOLUTION: (1000, 0)}, None),
        ({PLANE_RESOLUTION: (0, 1)}, None),
        ({PLANE_UNIT: 1}, None),  # no absolute unit
        ({PLANE_UNIT: 77}, None),
        ({WIDTH: 3600, HEIGHT: 3600}, None),  # this picture is a crop of the one that the camera recorded
        ({FOCAL_LENGTH: (50_000, 1)}, None),
    ],
)
def test_focal_length_from_the_sensor(change: dict[int, Value], expected: float | None) -> None:
    focal = read(exif({**FULL_FRAME, **change})).focal_35mm
    assert focal == (None if expected is None else pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize(("width", "height"), [(3600, 2400), (900, 600), (600, 900)])
def test_a_scaled_or_turned_copy_has_the_same_field_of_view(width: int, height: int) -> None:
    assert read(exif(FULL_FRAME), width, height).focal_35mm == pytest.approx(50.0)


def test_every_cut_of_a_block_is_survived() -> None:
    whole = exif(FULL_FRAME, orientation=6)
    results = {read(whole[:cut]) for cut in range(len(whole))}
    assert all(result.orientation in (1, 6) for result in results)
    assert all(result.focal_35mm is None or math.isclose(result.focal_35mm, 50.0) for result in results)


def test_any_damage_is_survived() -> None:
    whole, rng = exif(FULL_FRAME, orientation=6), np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            damaged[at] = rng.integers(0, 256)
        result = read(bytes(damaged))
        assert result.orientation in range(1, 9)
        assert result.focal_35mm is None or 3 <= result.focal_35mm <= 6000


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[0, 1, 2], [3, 4, 5]]),
        (2, [[2, 1, 0], [5, 4, 3]]),
        (3, [[5, 4, 3], [2, 1, 0]]),
        (4, [[3, 4, 5], [0, 1, 2]]),
        (5, [[0, 3], [1, 4], [2, 5]]),
        (6, [[3, 0], [4, 1], [5, 2]]),
        (7, [[5, 2], [4, 1], [3, 0]]),
        (8, [[2, 5], [1, 4], [0, 3]]),
    ],
)
def test_upright(orientation: int, expected: list[list[int]]) -> None:
    turned = upright(np.arange(6).reshape(2, 3), orientation)
    assert turned.tolist() == expected and turned.flags.c_contiguous
