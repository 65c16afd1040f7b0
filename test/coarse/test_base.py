"""Shrinking by area is the same on every device."""

from __future__ import annotations

import cv2
import pytest
import torch

from depth_retrofit_ros.coarse.base import box_average


@pytest.mark.parametrize("size", [(9, 16), (10, 17), (36, 64), (35, 61)])
def test_box_average_is_opencvs_area(size: tuple[int, int]) -> None:
    """For whole and broken ratios, fractions of pixels included."""
    planes = torch.rand(3, 36, 64, generator=torch.Generator().manual_seed(0))
    wanted = cv2.resize(planes.permute(1, 2, 0).numpy(), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    torch.testing.assert_close(box_average(planes, size), torch.from_numpy(wanted).permute(2, 0, 1), atol=1e-5, rtol=0)


def test_a_larger_size_is_interpolated() -> None:
    planes = torch.arange(6.0).view(1, 2, 3)
    large = box_average(planes, (4, 6))
    assert large.shape == (1, 4, 6) and float(large.min()) == 0 and float(large.max()) == 5
