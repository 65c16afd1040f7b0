"""Gated fusion (2K Retrofit, section 3.4): w = σ(MLP₂[coarse; refined; H(coarse); H(refined)])."""

from __future__ import annotations

import torch
from torch import nn


class GatedFusion(nn.Module):
    """How much of the coarse value each refined pixel keeps.

    Depths enter as ln(refined / coarse) and as ln(coarse) about the frame's median, so the gate does not depend on the scale of
    depth; the mix is taken in log depth for the same reason.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1)
        nn.init.constant_(last.bias, -1.5)  # at first the refined value counts for 4/5
        self.mlp = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), last)

    @property
    def layers(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weight and bias of both layers, for kernels."""
        first, _, last = self.mlp
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        return first.weight, first.bias, last.weight, last.bias

    def forward(
        self, level: torch.Tensor, change: torch.Tensor, coarse_entropy: torch.Tensor, refined_entropy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """level: ln(coarse) about the median, change: ln(refined / coarse), both ``[K]``; entropies ``[K]``.

        Returns the gate w ``[K]`` in 0…1 and ln(fused / coarse) ``[K]`` = (1 − w)·change.
        """
        gate = torch.sigmoid(self.mlp(torch.stack([level, change, coarse_entropy, refined_entropy], 1)))[:, 0]
        return gate, (1 - gate) * change
