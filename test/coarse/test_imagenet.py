"""Frames as the encoders take them."""

from __future__ import annotations

import torch

from depth_retrofit_ros.coarse.imagenet import DEVIATION, MEAN, NormalizedInput, usual_precision


def test_a_frame_of_the_mean_colour_is_nothing() -> None:
    """And one deviation above it is one, in each channel."""
    planes = NormalizedInput(torch.device("cpu"), torch.float32)
    for steps in (0.0, 1.0):
        colour = torch.tensor([255 * (mean + steps * deviation) for mean, deviation in zip(MEAN, DEVIATION, strict=True)])
        frame = colour.round().byte().expand(70, 80, 3).contiguous()
        made = planes(frame, (28, 42))
        assert made.shape == (1, 3, 28, 42)
        assert float((made - steps).abs().max()) < 0.5 / 255 / min(DEVIATION) + 1e-5


def test_precision() -> None:
    half = NormalizedInput(torch.device("cpu"), torch.bfloat16)
    assert half(torch.zeros(14, 28, 3, dtype=torch.uint8), (14, 28)).dtype == torch.bfloat16
    assert usual_precision(torch.device("cpu")) == torch.float32
    assert usual_precision(torch.device("cuda")) == torch.float16
