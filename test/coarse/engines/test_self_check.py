"""What differs enough to be refused, and what does not matter."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.coarse.engines.base import Tensors
from depth_retrofit_ros.coarse.engines.self_check import compare


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def depth() -> Tensor:
    """1 m to 4 m."""
    return torch.linspace(1, 4, 64).repeat(48, 1)[None]


FEATURES = 3 * seeded(1, 8, 12, 16)
NOISE = torch.log1p(0.03 * seeded(1, 48, 64, seed=1))


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (depth(), 1.05 * depth()),
        (depth().log(), depth().log() + math.log(1.05)),
        (depth() - 2.5, 1.05 * (depth() - 2.5)),
        (depth(), depth() * NOISE.exp()),
        (depth().log(), depth().log() + NOISE),
    ],
    ids=["scale", "scale of a logarithm", "contrast", "noise", "noise of a logarithm"],
)
def test_five_percent_of_scale_and_three_of_noise_are_refused(wanted: Tensor, got: Tensor) -> None:
    assert not compare((wanted, FEATURES), (got, FEATURES)).holds


@pytest.mark.parametrize("change", [1.02, 0.98])
def test_what_half_precision_does_is_not(change: float) -> None:
    rounded = depth().to(torch.bfloat16).float()
    assert compare((depth(), FEATURES), (rounded, FEATURES.to(torch.bfloat16).float())).holds
    assert compare((depth(), FEATURES), (change * depth(), FEATURES)).holds


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ((torch.full((1, 9, 9), 5.0), FEATURES), (torch.full((1, 9, 9), 5.0) + 1e-6 * seeded(1, 9, 9), FEATURES)),
        ((torch.zeros(1, 9, 9), FEATURES), (torch.full((1, 9, 9), 1e-7), FEATURES)),
        ((depth(), torch.ones(1, 8, 12, 16)), (depth(), 1 + 1e-6 * FEATURES)),
        ((depth(), torch.zeros(1, 8, 12, 16)), (depth(), 1e-7 * FEATURES)),
    ],
    ids=["constant depth", "no depth", "constant features", "no features"],
)
def test_what_is_alike_may_differ_by_rounding(wanted: Tensors, got: Tensors) -> None:
    assert compare(wanted, got).holds


def test_cells_that_stand_out_as_much_may_be_others() -> None:
    features = torch.zeros(1, 2, 10, 20)
    features[:, 0, 5:] = 9.0  # half the cells are as uncertain as can be: a fifth of them is selected
    agreement = compare((depth(), features), (depth(), features + 1e-6 * seeded(1, 2, 10, 20)))
    assert agreement.overlap > 0.999
    features = features.flip(2)
    assert compare((depth(), features), (depth(), features.flip(2))).overlap == 0.0


@pytest.mark.parametrize("number", [2, 3, 4])
def test_each_further_output_is_looked_at(number: int) -> None:
    outputs = (depth(), FEATURES, seeded(1, 3, 12, 16), seeded(1, 12, 16) > 0, torch.tensor([1.2]))
    assert compare(outputs, outputs).holds
    wrong = (*outputs[:2], -outputs[2], ~outputs[3], outputs[4] + math.log(1.05))
    spoilt = compare(outputs, (*outputs[:number], wrong[number], *outputs[number + 1 :]))
    assert not spoilt.holds and str(spoilt).endswith(f"; and in output {number}")


def test_a_number_for_the_whole_frame_may_be_rounded() -> None:
    scale = torch.tensor([1.2])
    assert compare((depth(), FEATURES, scale), (depth(), FEATURES, scale.to(torch.float16))).holds
