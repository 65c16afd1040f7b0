"""Shrinking by area is the same on every device."""

from __future__ import annotations

import cv2
import pytest
import torch

from depth_retrofit_ros.upsampling.area_average import box_average, downsample


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


def test_downsampling_averages_areas() -> None:
    image = torch.randint(0, 256, (12, 20, 3), dtype=torch.uint8)
    expected = image.double().view(3, 4, 5, 4, 3).mean((1, 3)).permute(2, 0, 1) / 255
    small = downsample(image, (3, 5))
    assert small.shape == (1, 3, 3, 5)
    torch.testing.assert_close(small[0].double(), expected, atol=0.51 / 255, rtol=0)
    assert downsample(image, (24, 40)).shape == (1, 3, 24, 40)
