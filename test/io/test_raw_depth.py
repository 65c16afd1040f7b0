import numpy as np
import pytest

from depth_retrofit_ros.io.raw_depth import FARTHEST_M, fill_millimeters


def millimeters(*depths: float) -> list[int]:
    out = np.full((1, len(depths)), 7, np.uint16)
    fill_millimeters(np.array([depths], np.float32), out)
    return [int(value) for value in out[0]]


def test_metres_become_rounded_millimetres() -> None:
    assert millimeters(0.001, 0.0014, 0.0016, 1.0, 1.2345, FARTHEST_M) == [1, 1, 2, 1000, 1235, 65535]


def test_what_is_no_depth_or_too_far_is_zero() -> None:
    assert millimeters(float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 0.0004, 65.536, 1e9) == [0] * 8


def test_every_depth_within_reach_is_off_by_half_a_millimetre_at_most() -> None:
    depth = np.random.default_rng(0).uniform(0.001, 65.0, (200, 300)).astype(np.float32)
    out = np.empty(depth.shape, np.uint16)
    fill_millimeters(depth, out)
    assert np.abs(out * 1e-3 - depth.astype(float)).max() < 0.000501 + 4e-6  # float32 at 65 m


@pytest.mark.parametrize("out", [np.empty((2, 3), np.int32), np.empty((3, 2), np.uint16)])
def test_a_wrong_buffer_is_refused(out: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint16"):
        fill_millimeters(np.ones((2, 3), np.float32), out)
