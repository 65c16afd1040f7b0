"""The records refuse what would fail later and far away."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import CameraError, ImageError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.sparse.pixel_set import PixelSet

IMAGE = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((1, 4, 6, 3), np.uint8),
        np.zeros((4, 6, 3), np.float32),
        np.zeros((0, 6, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
    ],
)
def test_only_rgb_of_eight_bits(image: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"uint8 \[H, W, 3\] RGB image, not") as caught:
        Frame(image)
    assert str(list(image.shape)) in str(caught.value)


def test_camera_must_describe_this_very_image() -> None:
    Frame(IMAGE, camera=Camera(6, 4, 5.0, 5.0, 2.5, 1.5))
    with pytest.raises(CameraError, match="camera is 4x6 but the image is 6x4"):
        Frame(IMAGE, camera=Camera(4, 6, 5.0, 5.0, 1.5, 2.5))


def test_frames_cannot_be_changed_underway() -> None:
    frame = Frame(IMAGE, stamp_ns=7)
    with pytest.raises(FrozenInstanceError):
        frame.stamp_ns = 8  # type: ignore[misc]


def test_refined_pixels_are_those_of_the_selection() -> None:
    selection = PixelSet.from_indices(torch.tensor([1, 5, 23]), (4, 6))
    depth = torch.ones(4, 6)
    assert DepthFrame(depth, depth, depth, None, selection, torch.zeros(3)).refined_pixels == 3
