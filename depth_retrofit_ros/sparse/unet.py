"""A U-Net on the active pixels of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from depth_retrofit_ros.sparse.layers import DownConv2d, ResidualBlock, SubmanifoldConv2d, UpConv2d
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid


class SparseUNet(nn.Module):
    """Encoder and decoder of residual blocks, as in SparseRefine (arXiv 2407.19014) and MinkowskiUNet, on a 2-D pixel pyramid.

    widths: channels of each level, the frame's own resolution first; blocks: residual blocks per level, in the encoder and again in
    the decoder; out_channels: defaults to ``widths[0]``; relu_input: apply ReLU to the input. Skips are added, not concatenated:
    that saves a convolution of twice the width at the finest levels, where nearly all of the time goes.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int] = (16, 32, 48, 64, 64),
        blocks: int = 1,
        out_channels: int | None = None,
        relu_input: bool = False,
    ) -> None:
        super().__init__()
        self.stem = SubmanifoldConv2d(in_channels, widths[0], relu_input=relu_input)
        self.encoder = nn.ModuleList(Stage(width, blocks) for width in widths)
        self.down = nn.ModuleList(DownConv2d(fine, coarse) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(UpConv2d(coarse, fine) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(Stage(width, blocks) for width in widths[:-1])
        self.head = nn.Linear(widths[0], widths[0] if out_channels is None else out_channels)

    @property
    def levels(self) -> int:
        """Number of pyramid levels that it needs."""
        return len(self.encoder)

    def forward(self, features: torch.Tensor, pyramid: Pyramid) -> torch.Tensor:
        """``[K, in_channels]`` at the pixels of ``pyramid[0]`` to ``[K, out_channels]`` in the type of the head."""
        if len(pyramid) != self.levels:
            raise ValueError(f"this network needs a pyramid of {self.levels} levels, not {len(pyramid)}")
        features = self.encoder[0](self.stem(features, pyramid[0]), pyramid[0])
        skips = []
        for depth, down in enumerate(self.down):
            skips.append(features)
            features = self.encoder[depth + 1](down(features, pyramid[depth]), pyramid[depth + 1])
        for depth in reversed(range(self.levels - 1)):
            features = self.up[depth](features, pyramid[depth], skips.pop())
            features = self.decoder[depth](features, pyramid[depth])
        return pyramid[0].backend.linear(features, self.head.weight, self.head.bias, relu_input=True)


class Stage(nn.Module):
    """Residual blocks in a row, on one level."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))

    def forward(self, features: torch.Tensor, level: Level) -> torch.Tensor:
        """``[K, channels]`` to the same."""
        for block in self.blocks:
            features = block(features, level)
        return features
