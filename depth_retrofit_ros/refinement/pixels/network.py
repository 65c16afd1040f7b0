"""The trained part of the method: sparse U-Net, choice between candidate surfaces, residual, gate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.refinement.fusion import GatedFusion
from depth_retrofit_ros.refinement.pixels.candidates import COUNT, SURFACES
from depth_retrofit_ros.refinement.pixels.decision import OUTPUTS, TERMS, Refinement, decide
from depth_retrofit_ros.refinement.pixels.features import IN_CHANNELS, PixelFeatures
from depth_retrofit_ros.sparse.pyramid import Pyramid
from depth_retrofit_ros.sparse.unet import SparseUNet

MIXED = 24  # channels that reach the first 3×3 convolution
MIXTURES_START = -1.0  # logit of what no cell shows, before any training


class RefinerNet(nn.Module):
    """[features at the active pixels] → ln(refined / coarse) and its entropy; ``fusion`` then gates it.

    Each candidate's logit is one output of the U-Net plus a fitness: a second-order polynomial of the candidate's own place in
    depth, less its colour distance, with coefficients that the U-Net gives per pixel. So "the nearer surface", "a surface about
    here" and "the surface of my colour" are each one number to say, however many candidates there are; and before any training
    the choice is that of a joint bilateral filter. A last output is a small residual. Softmax over the candidates makes H(refined)
    a real entropy, which the paper's gate asks for and a plain regressor cannot give.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 64, 64), blocks: int = 1) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        self.mix = nn.Linear(IN_CHANNELS, MIXED)
        self.unet = SparseUNet(MIXED, self.widths, blocks, out_channels=OUTPUTS, relu_input=True)
        self.fusion = GatedFusion()
        with torch.no_grad():
            self.unet.head.weight.mul_(0.1)
            self.unet.head.bias.zero_()
            self.unet.head.bias[0] = 0.5  # stay
            self.unet.head.bias[SURFACES:COUNT] = MIXTURES_START
            self.unet.head.bias[COUNT + TERMS - 1] = -3.0  # per unit of colour distance

    @property
    def levels(self) -> int:
        """Pyramid levels that the U-Net needs."""
        return self.unet.levels

    def forward(self, features: PixelFeatures, pyramid: Pyramid) -> Refinement:
        """The U-Net computes in the type of its weights; features, choice and gate are float32 in any case."""
        out = self.unet(pyramid[0].backend.linear(features.rows, self.mix.weight, self.mix.bias), pyramid)
        return self.decide(out if has_kernels(out.device) else out.float(), features)

    def decide(self, out: torch.Tensor, features: PixelFeatures) -> Refinement:
        """What the U-Net's output ``[K, OUTPUTS]`` says; ablations replace it."""
        return decide(out, features)
