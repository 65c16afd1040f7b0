"""An untrained refiner that does something everywhere, small enough for tests."""

from __future__ import annotations

import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner
from depth_retrofit_ros.sparse.backends.registry import load_backend


def random_network(seed: int = 0, widths: tuple[int, ...] = (8, 12, 16)) -> RefinerNet:
    """All weights random: a new network's residual blocks are the identity and its choice is to stay."""
    network = RefinerNet(widths)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = max(1, parameter[0].numel())
            parameter.normal_(0, 0.8 / fan_in**0.5, generator=generator)
    return network


def random_refiner(seed: int = 0) -> SparseRefiner:
    """On the reference backend."""
    return SparseRefiner(random_network(seed), load_backend("torch"))


def two_planes(h: int = 18, w: int = 24, seed: int = 0) -> CoarsePrediction:
    """Two slanted planes that meet in a step, with features that hesitate here and there."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    inverse = torch.where(x + 0.3 * y < w / 2, 0.8 + 0.006 * y - 0.004 * x, 0.25 - 0.002 * y + 0.003 * x)
    return CoarsePrediction(inverse.reciprocal(), torch.randn(16, h, w, generator=generator))
