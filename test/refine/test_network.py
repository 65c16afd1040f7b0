"""The head's arithmetic, and that every weight takes part."""

from __future__ import annotations

import math

import numpy as np
import torch

from depth_retrofit_ros.refine.candidates import COUNT
from depth_retrofit_ros.refine.features import PixelFeatures
from depth_retrofit_ros.refine.network import RefinerNet
from depth_retrofit_ros.selection.pixel_set import PixelSet
from depth_retrofit_ros.sparse.engine import load_engine
from depth_retrofit_ros.sparse.pyramid import Pyramid

from .nets import random_network


def some_input(network: RefinerNet, count: int = 150) -> tuple[PixelFeatures, Pyramid]:
    """Random features at random pixels of a 24 x 32 frame."""
    pixels = PixelSet.from_indices(torch.randperm(24 * 32)[:count].sort().values, (24, 32))
    candidates = 0.3 * torch.randn(count, COUNT)
    candidates[:, 0] = 0
    features = PixelFeatures(torch.randn(count, 3), candidates, torch.rand(count, COUNT), torch.randn(count), torch.randn(count))
    return features, load_engine("torch").build_pyramid(pixels, network.levels)


def test_choice_and_residual_by_formula() -> None:
    network = random_network()
    features, pyramid = some_input(network)
    out = network.unet(network.mix(features.stacked()).relu(), pyramid).detach().double().numpy()
    choice = np.exp(out[:, :COUNT])
    choice /= choice.sum(1, keepdims=True)
    refinement = network(features, pyramid)
    change = (choice * features.candidates.double().numpy()).sum(1) + 0.25 * out[:, COUNT]
    np.testing.assert_allclose(refinement.change.detach().numpy(), change, atol=1e-5)
    np.testing.assert_allclose(refinement.entropy.detach().numpy(), -(choice * np.log(choice)).sum(1), atol=1e-5)
    np.testing.assert_allclose(refinement.log_choice.detach().numpy(), np.log(choice), atol=1e-5)
    assert float(refinement.entropy.detach().min()) > 0 and float(refinement.entropy.detach().max()) < math.log(COUNT)


def test_a_new_network_mostly_stays() -> None:
    network = RefinerNet((8, 12))
    features, pyramid = some_input(network)
    choice = network(features, pyramid).log_choice.exp()
    assert bool((choice.argmax(1) == 0).all())


def test_every_weight_learns() -> None:
    network = random_network()
    features, pyramid = some_input(network)
    refinement = network(features, pyramid)
    _, change = network.fusion(features.level, refinement.change, features.entropy, refinement.entropy)
    (change.square().sum() + refinement.log_choice[:, 1].sum()).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert still == []


def test_no_pixels() -> None:
    network = random_network()
    features, pyramid = some_input(network, count=0)
    refinement = network(features, pyramid)
    assert refinement.change.shape == refinement.entropy.shape == (0,)
