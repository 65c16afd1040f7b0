"""The paper's trained part: a sparse U-Net that tells depth itself from RGB alone, and the gate of its blend with the coarse depth.

The paper leaves two things open. A value cannot be told from colours alone for scenes of any scale: here it is ln(depth / median
coarse depth of the frame), so that to scale the coarse depth scales the answer. And H(ΔY) needs a distribution: the value is the
mean of one over ``BINS`` depths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from depth_retrofit_ros.sparse.pyramid import Pyramid
from depth_retrofit_ros.sparse.unet import SparseUNet

BINS = 16
SPAN = 3.0  # of ln(depth / median): the outer bins are 20 times as far and as near
HIDDEN = 16  # of the gate


class Value(NamedTuple):
    """level: ln(refined depth / median coarse depth), entropy: of its distribution, as a share of ln ``BINS``; both ``[K]``.
    logits: of the distribution, ``[K, BINS]``."""

    level: Tensor
    entropy: Tensor
    logits: Tensor


class ValueBlend(nn.Module):
    """Y = f(w·Ŷ + (1 − w)·ΔY), w = σ(MLP₂[Ŷ; ΔY; H(Ŷ); H(ΔY)]), before the output map f, which here is exp times the median."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(4, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, coarse: Tensor, refined: Tensor, coarse_entropy: Tensor, refined_entropy: Tensor) -> tuple[Tensor, Tensor]:
        """Levels (see ``Value``) and entropies as shares of the largest, all ``[K]`` → w ``[K]`` and the blended level ``[K]``."""
        gate = torch.sigmoid(self.mlp(torch.stack([coarse, refined, coarse_entropy, refined_entropy], 1)))[:, 0]
        return gate, gate * coarse + (1 - gate) * refined


class PaperNet(nn.Module):
    """The U-Net and the gate. widths, blocks: see ``SparseUNet``."""

    centers: Tensor

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 64, 64), blocks: int = 1) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        self.unet = SparseUNet(3, self.widths, blocks, out_channels=BINS)
        self.gate = ValueBlend()
        self.register_buffer("centers", torch.linspace(-SPAN, SPAN, BINS), persistent=False)
        with torch.no_grad():
            self.unet.head.weight.mul_(0.1)
            self.unet.head.bias.copy_(-0.5 * self.centers**2)  # at first about the median

    @property
    def levels(self) -> int:
        """Pyramid levels that the U-Net needs."""
        return self.unet.levels

    def forward(self, rgb: Tensor, pyramid: Pyramid) -> Value:
        """rgb: normalized colours ``[K, 3]`` at the pixels of ``pyramid[0]``, in the type of the U-Net's weights; the rest is
        float32."""
        logits = self.unet(rgb, pyramid).float()
        log_q = logits.log_softmax(1)
        q = log_q.exp()
        return Value((q * self.centers).sum(1), -(q * log_q).sum(1) / math.log(BINS), logits)
