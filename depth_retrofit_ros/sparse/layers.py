"""Layers of sparse networks. Their weights are those of dense convolutions, so that one checkpoint serves every backend."""

from __future__ import annotations

import math

import torch
from torch import nn

from depth_retrofit_ros.sparse.pyramid import Level

RELU_GAIN = math.sqrt(2.0)


class SparseConvolution(nn.Module):
    """Weight, bias and initialisation common to the three convolutions.

    weight: of the given (dense) shape; its variance is gain² / fan_in (He et al., arXiv 1502.01852, with gain √2 behind a ReLU).
    """

    def __init__(self, shape: tuple[int, int, int, int], outputs: int, fan_in: int, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if not self.weight.is_meta:  # else a checkpoint follows, and torch would load its compiler for it, which takes a second
            nn.init.normal_(self.weight, std=gain / math.sqrt(fan_in))

    def parameters_as(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias in the precision of the features, which autocast may have lowered."""
        return self.weight.to(features.dtype), self.bias.to(features.dtype)


class SubmanifoldConv2d(SparseConvolution):
    """3x3 convolution at the active pixels only; relu_input: apply ReLU to its input."""

    def __init__(self, inputs: int, outputs: int, *, relu_input: bool = False) -> None:
        super().__init__((outputs, inputs, 3, 3), outputs, 9 * inputs, RELU_GAIN if relu_input else 1.0)
        self.relu_input = relu_input

    def forward(self, features: torch.Tensor, level: Level, residual: torch.Tensor | None = None) -> torch.Tensor:
        """``[K, inputs]`` to ``[K, outputs]`` on ``level``, plus the residual."""
        return level.backend.submanifold_conv(
            features, *self.parameters_as(features), level, relu_input=self.relu_input, residual=residual
        )


class DownConv2d(SparseConvolution):
    """2x2 convolution of stride 2, to the next coarser level."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__((outputs, inputs, 2, 2), outputs, 4 * inputs, 1.0)

    def forward(self, features: torch.Tensor, level: Level) -> torch.Tensor:
        """``[K, inputs]`` on ``level`` to ``[K', outputs]`` on the next coarser one."""
        return level.backend.down_conv(features, *self.parameters_as(features), level)


class UpConv2d(SparseConvolution):
    """Transposed 2x2 convolution of stride 2, from the next coarser level."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__((inputs, outputs, 2, 2), outputs, inputs, 1.0)

    def forward(self, features: torch.Tensor, level: Level, residual: torch.Tensor | None = None) -> torch.Tensor:
        """``[K', inputs]`` of the level coarser than ``level`` to ``[K, outputs]`` on ``level``, plus the residual."""
        return level.backend.up_conv(features, *self.parameters_as(features), level, residual=residual)


class ResidualBlock(nn.Module):
    """Pre-activation residual block, ``x + conv(relu(conv(relu(x))))`` (He et al., arXiv 1603.05027), without normalisation.

    Batch statistics of pixels chosen by uncertainty would change with the budget. The second convolution starts at zero instead, so
    that a new block is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = SubmanifoldConv2d(channels, channels, relu_input=True)
        self.second = SubmanifoldConv2d(channels, channels, relu_input=True)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: torch.Tensor, level: Level) -> torch.Tensor:
        """``[K, channels]`` to the same."""
        return self.second(self.first(features, level), level, features)
