"""The head's arithmetic, and that every weight takes part."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from depth_retrofit_ros.refinement.pixels.candidates import COUNT, SURFACES
from depth_retrofit_ros.refinement.pixels.features import IN_CHANNELS, PixelFeatures
from depth_retrofit_ros.refinement.pixels.network import MIXTURES_START, RefinerNet
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner
from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Pyramid
from test.refinement.nets import random_network


def some_input(network: RefinerNet, count: int = 150) -> tuple[PixelFeatures, Pyramid]:
    """Random features at random pixels of a 24 x 32 frame."""
    pixels = PixelSet.from_indices(torch.randperm(24 * 32)[:count].sort().values, (24, 32))
    candidates = 0.3 * torch.randn(count, COUNT)
    candidates[:, 0] = 0
    features = PixelFeatures.of(
        rgb=torch.randn(count, 3),
        candidates=candidates,
        colors=torch.rand(count, COUNT),
        entropy=torch.randn(count),
        level=torch.randn(count),
        grid=torch.randn(count, 3),
    )
    return features, load_backend("torch").build_pyramid(pixels, network.levels)


def test_choice_and_residual_by_formula() -> None:
    network = random_network()
    features, pyramid = some_input(network)
    out = network.unet(network.mix(features.rows).relu(), pyramid).detach().double().numpy()
    place = np.clip(4 * features.candidates.double().numpy(), -5, 5)
    a, b, c = (out[:, COUNT + i, None] for i in range(3))
    choice = np.exp(out[:, :COUNT] + a * place + b * place**2 + c * features.colors.double().numpy())
    choice /= choice.sum(1, keepdims=True)
    refinement = network(features, pyramid)
    change = (choice * features.candidates.double().numpy()).sum(1) + 0.25 * out[:, COUNT + 3]
    np.testing.assert_allclose(refinement.change.detach().numpy(), change, atol=1e-5)
    np.testing.assert_allclose(refinement.entropy.detach().numpy(), -(choice * np.log(choice)).sum(1), atol=1e-5)
    assert refinement.log_choice is not None
    np.testing.assert_allclose(refinement.log_choice.detach().numpy(), np.log(choice), atol=1e-5)
    assert float(refinement.entropy.detach().min()) > 0 and float(refinement.entropy.detach().max()) < math.log(COUNT)


def test_a_converted_network_computes_in_the_type_of_its_weights() -> None:
    network = random_network()
    features, pyramid = some_input(network)
    exact = network(features, pyramid).change
    SparseRefiner(network, load_backend("torch"), torch.bfloat16)
    mixed = F.linear(features.rows.bfloat16(), network.mix.weight, network.mix.bias)
    wanted = network.decide(network.unet(mixed, pyramid).float(), features).change
    assert torch.equal(network(features, pyramid).change, wanted) and not torch.equal(wanted, exact)


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_compiled_pass_of_inference_is_the_specification(count: int, scale: float) -> None:
    """Also where one candidate takes all, where the others underflow, and with nothing to decide."""
    network = random_network()
    out = scale * torch.randn(count, COUNT + 4)
    features = PixelFeatures(torch.randn(count, IN_CHANNELS))
    wanted = network.decide(out, features)
    with torch.inference_mode():
        got = network.decide(out, features)
    assert wanted.log_choice is not None and got.log_choice is None
    rounding = 1e-5 * max(scale, 1.0)  # of logits as large as that
    torch.testing.assert_close(got.change, wanted.change, rtol=rounding, atol=rounding)
    torch.testing.assert_close(got.entropy, wanted.entropy, rtol=rounding, atol=rounding)


def test_compiled_pass_keeps_what_is_unknown_unknown() -> None:
    features = PixelFeatures(torch.randn(3, IN_CHANNELS))
    features.candidates[1, 4] = torch.nan
    with torch.inference_mode():
        change = random_network().decide(torch.randn(3, COUNT + 4), features).change
    assert change.isnan().tolist() == [False, True, False]


def test_fitness_alone_chooses_by_colour() -> None:
    """As a joint bilateral filter does: the more a candidate's colour differs from the pixel's, the less it counts."""
    network = RefinerNet((8, 12))
    with torch.no_grad():
        network.unet.head.weight.zero_()
    features, pyramid = some_input(network)
    log_choice = network(features, pyramid).log_choice
    assert log_choice is not None
    difference = log_choice[:, 1:] - log_choice[:, 1:2]
    wanted = -3 * (features.colors[:, 1:] - features.colors[:, 1:2])
    wanted[:, SURFACES - 1 :] += MIXTURES_START  # what no cell shows has to be better than what one shows
    torch.testing.assert_close(difference, wanted, atol=1e-4, rtol=1e-4)


def test_every_weight_learns() -> None:
    network = random_network()
    features, pyramid = some_input(network)
    refinement = network(features, pyramid)
    _, change = network.fusion(features.level, refinement.change, features.entropy, refinement.entropy)
    assert refinement.log_choice is not None
    (change.square().sum() + refinement.log_choice[:, 1].sum()).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert still == []


def test_no_pixels() -> None:
    network = random_network()
    features, pyramid = some_input(network, count=0)
    refinement = network(features, pyramid)
    assert refinement.change.shape == refinement.entropy.shape == (0,)
