"""The trained part of the method: sparse U-Net, choice between candidate surfaces, residual, gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from depth_retrofit_ros.refinement.fusion import GatedFusion
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.decision import decide
from depth_retrofit_ros.refinement.pixels.features import IN_CHANNELS, PixelFeatures
from depth_retrofit_ros.sparse.pyramid import Pyramid
from depth_retrofit_ros.sparse.unet import SparseUNet

MIXED = 24  # channels that reach the first 3×3 convolution
TERMS = 3  # of a candidate's fitness: its place, the place squared, its colour distance
PLACE_SCALE = 4.0  # a candidate's place: ln(candidate / coarse) times this
FARTHEST_PLACE = 5.0


@dataclass(frozen=True, slots=True)
class Refinement:
    """change ``[K]``: ln(refined / coarse); entropy ``[K]``: H(refined), of the choice between candidates, nats; log_choice
    ``[K, COUNT]``: ln of the probability of each candidate, None in inference mode, where nobody asks for it."""

    change: torch.Tensor
    log_choice: torch.Tensor | None
    entropy: torch.Tensor


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
        self.unet = SparseUNet(MIXED, self.widths, blocks, out_channels=COUNT + TERMS + 1)
        self.fusion = GatedFusion()
        with torch.no_grad():
            self.unet.head.weight.mul_(0.1)
            self.unet.head.bias.zero_()
            self.unet.head.bias[0] = 0.5  # stay
            self.unet.head.bias[COUNT + TERMS - 1] = -3.0  # per unit of colour distance

    @property
    def levels(self) -> int:
        """Pyramid levels that the U-Net needs."""
        return self.unet.levels

    def forward(self, features: PixelFeatures, pyramid: Pyramid, dtype: torch.dtype = torch.float32) -> Refinement:
        """dtype: of the U-Net; features, choice and gate are float32 in any case."""
        rows, weight, bias = (tensor.to(dtype) for tensor in (features.rows, self.mix.weight, self.mix.bias))
        mixed = pyramid[0].engine.linear(rows, weight, bias)
        return self.decide(self.unet(mixed.relu_(), pyramid).float(), features)

    def decide(self, out: torch.Tensor, features: PixelFeatures) -> Refinement:
        """What the U-Net's output ``[K, COUNT + TERMS + 1]`` says."""
        if out.device.type == "cpu" and torch.is_inference_mode_enabled():
            change, entropy = decide(out, features, PLACE_SCALE, FARTHEST_PLACE)
            return Refinement(change, None, entropy)
        log_choice = (out[:, :COUNT] + fitness(features, out[:, COUNT : COUNT + TERMS])).log_softmax(1)
        choice = log_choice.exp()
        change = (choice * features.candidates).sum(1) + 0.25 * out[:, -1]
        return Refinement(change, log_choice, -(choice * log_choice).sum(1))


def fitness(features: PixelFeatures, terms: torch.Tensor) -> torch.Tensor:
    """``[K, COUNT]``: what each candidate's place and colour say for it, by the coefficients ``terms [K, TERMS]``."""
    place = (features.candidates * PLACE_SCALE).clamp(-FARTHEST_PLACE, FARTHEST_PLACE)
    return torch.addcmul(terms[:, 2:] * features.colors, terms[:, :1] + terms[:, 1:2] * place, place)
