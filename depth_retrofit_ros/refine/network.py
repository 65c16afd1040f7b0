"""The trained part of the method: sparse U-Net, choice between candidate surfaces, residual, gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from depth_retrofit_ros.refine.candidates import COUNT
from depth_retrofit_ros.refine.features import IN_CHANNELS, PixelFeatures
from depth_retrofit_ros.refine.fusion import GatedFusion
from depth_retrofit_ros.sparse.pyramid import Pyramid
from depth_retrofit_ros.sparse.unet import SparseUNet

MIXED = 24  # channels that reach the first 3×3 convolution


@dataclass(frozen=True, slots=True)
class Refinement:
    """change ``[K]``: ln(refined / coarse); entropy ``[K]``: H(refined), of the choice between candidates, nats; log_choice
    ``[K, COUNT]``: ln of the probability of each candidate."""

    change: torch.Tensor
    log_choice: torch.Tensor
    entropy: torch.Tensor


class RefinerNet(nn.Module):
    """[features at the active pixels] → ln(refined / coarse) and its entropy; ``fusion`` then gates it.

    The last layer gives one logit per candidate and one residual. Softmax over the candidates makes H(refined) a real entropy,
    which the paper's gate asks for and a plain regressor cannot give.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 64, 64), blocks: int = 1) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        self.mix = nn.Linear(IN_CHANNELS, MIXED)
        self.unet = SparseUNet(MIXED, self.widths, blocks, out_channels=COUNT + 1)
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
        out = self.unet(self.mix(features.stacked()).relu(), pyramid)
        logits, residual = out[:, :COUNT], out[:, COUNT]
        log_choice = logits.log_softmax(1)
        choice = log_choice.exp()
        change = (choice * features.candidates).sum(1) + 0.25 * residual
        return Refinement(change, log_choice, -(choice * log_choice).sum(1))
