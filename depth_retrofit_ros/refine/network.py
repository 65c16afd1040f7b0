"""The trained part of the method: sparse U-Net, choice between candidate surfaces, residual, gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from depth_retrofit_ros.refine.candidates import COUNT
from depth_retrofit_ros.refine.fusion import GatedFusion
from depth_retrofit_ros.sparse.pyramid import Pyramid
from depth_retrofit_ros.sparse.unet import SparseUNet

IN_CHANNELS = 3 + (COUNT - 1) + 2  # RGB, candidates, coarse entropy, level


@dataclass(frozen=True, slots=True)
class PixelFeatures:
    """What the network sees at each of K active pixels; nothing in it changes when depth is scaled.

    rgb ``[K, 3]`` about 0 ± 1; candidates ``[K, COUNT]`` ln(candidate / coarse); level ``[K]`` ln(coarse) about the frame's median;
    entropy ``[K]`` the selection score, standardised over the frame.
    """

    rgb: torch.Tensor
    candidates: torch.Tensor
    level: torch.Tensor
    entropy: torch.Tensor

    def stacked(self) -> torch.Tensor:
        """``[K, IN_CHANNELS]``."""
        return torch.cat([self.rgb, self.candidates[:, 1:], self.entropy[:, None], self.level[:, None]], 1)


@dataclass(frozen=True, slots=True)
class Refinement:
    """change ``[K]``: ln(refined / coarse); entropy ``[K]``: H(refined), of the choice between candidates, nats."""

    change: torch.Tensor
    entropy: torch.Tensor


class RefinerNet(nn.Module):
    """[features at the active pixels] → ln(refined / coarse) and its entropy; ``fusion`` then gates it.

    The last layer gives one logit per candidate and one residual. Softmax over the candidates makes H(refined) a real entropy,
    which the paper's gate asks for and a plain regressor cannot give.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 64, 64), blocks: int = 1) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        self.unet = SparseUNet(IN_CHANNELS, self.widths, blocks, out_channels=COUNT + 1)
        self.fusion = GatedFusion()
        with torch.no_grad():
            self.unet.head.weight.mul_(0.1)
            self.unet.head.bias.zero_()
            self.unet.head.bias[0] = 2.0

    @property
    def levels(self) -> int:
        """Pyramid levels that the U-Net needs."""
        return self.unet.levels

    def forward(self, features: PixelFeatures, pyramid: Pyramid) -> Refinement:
        out = self.unet(features.stacked(), pyramid)
        logits, residual = out[:, :COUNT], out[:, COUNT]
        log_choice = logits.log_softmax(1)
        choice = log_choice.exp()
        change = (choice * features.candidates).sum(1) + 0.25 * residual
        return Refinement(change, -(choice * log_choice).sum(1))
