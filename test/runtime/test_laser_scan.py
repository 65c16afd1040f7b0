"""The scan of known rooms, and what it says where it sees nothing."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.runtime.laser_scan import ScanAngles, ScanSettings, fill_scan

CAMERA = Camera(65, 48, 30.0, 30.0, 30.0, 23.5)  # wide, its middle beside the image's


def scan(band: np.ndarray, settings: ScanSettings | None = None) -> np.ndarray:
    out = np.zeros(CAMERA.width, np.float32)
    fill_scan(np.asarray(band, np.float32), CAMERA, settings or ScanSettings(), out)
    return out


def beams() -> np.ndarray:
    angles = ScanAngles.of(CAMERA)
    return angles.first + angles.increment * np.arange(CAMERA.width)


def test_a_wall_ahead_is_a_straight_line_without_a_gap() -> None:
    ranges = scan(np.full((1, 65), 2.0))
    ahead, aside = ranges * np.cos(beams()), ranges * np.sin(beams())
    assert np.isfinite(ranges).all()
    np.testing.assert_allclose(ahead, 2.0, rtol=0.03)
    assert aside[0] < -2.0 and aside[-1] > 1.9 and (np.diff(aside) > 0).all(), "counter-clockwise: from the right to the left"
    assert ScanAngles.of(CAMERA).last == pytest.approx(np.arctan(1.0)) and ScanAngles.of(CAMERA).first == pytest.approx(
        -np.arctan(34 / 30)
    )


def test_a_beam_is_the_nearest_of_its_column() -> None:
    band = np.full((3, 65), 4.0)
    band[1, 30] = 1.5  # the optical axis
    band[2, 30] = np.nan
    ranges = scan(band)
    ahead = int(np.argmin(np.abs(beams())))
    assert ranges[ahead] == 1.5 and ranges.min() == 1.5
    assert (ranges[np.abs(beams()) > 0.1] >= 4.0).all()


def test_without_a_range_it_says_why() -> None:
    """REP-117."""
    settings = ScanSettings(range_min=0.5, range_max=3.0)
    for depth, said in ((0.1, -np.inf), (50.0, np.inf), (np.inf, np.inf), (np.nan, np.nan), (0.0, np.nan), (-1.0, np.nan)):
        np.testing.assert_array_equal(scan(np.full((2, 65), depth), settings), np.full(65, said, np.float32))
    mixed = scan(np.r_[np.full((1, 65), 0.1), np.full((1, 65), 50.0)], settings)
    assert (mixed == -np.inf).all(), "what is too near is no free space"
    assert np.isfinite(scan(np.r_[np.full((1, 65), 0.1), np.full((1, 65), 1.0)], settings)).all()
    for nothing in (0.0, -0.0):
        assert np.isnan(scan(np.full((1, 65), nothing), ScanSettings(range_min=0.0))).all(), "no obstacle at the camera itself"


def test_the_band_lies_about_its_row() -> None:
    assert ScanSettings().rows(CAMERA) == slice(24, 25)
    assert ScanSettings(height=2).rows(CAMERA) == slice(23, 25)
    assert ScanSettings(row=10, height=5).rows(CAMERA) == slice(8, 13)
    assert ScanSettings(row=0, height=5).rows(CAMERA) == slice(0, 3), "as far as it lies in the image"
    with pytest.raises(OutputError, match="set scan_row"):
        ScanSettings(row=60).rows(CAMERA)
    with pytest.raises(OutputError, match="scan_range_min 5 must be below scan_range_max 5"):
        ScanSettings(range_min=5.0, range_max=5.0).rows(CAMERA)
