"""The network of ``compact``: a small residual encoder-decoder that classifies log depth.

The head's last features are 32 logits over log-spaced depth bins and the final projection is their softmax expectation, so that the
entropy which selects pixels is the entropy of an actual distribution over depth: it is high exactly where two surfaces compete.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

BINS = 32
NEAREST_M = 0.3
FARTHEST_M = 150.0
LONG_SIDE = 256
MULTIPLE = 16
CANONICAL_F_PX = 256.0  # focal length, in pixels of the network's input, at which the network's depths are metres


def bin_centers() -> torch.Tensor:
    """log of the canonical depth [m] at each bin, float32 [BINS]."""
    return torch.linspace(math.log(NEAREST_M), math.log(FARTHEST_M), BINS)


class CompactNet(nn.Module):
    """image [B, 3, h, w] in 0…1 (h, w multiples of 16) → logits [B, BINS, h, w]."""

    def __init__(self, widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 192)) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = widths
        self.stem = _conv(3, c1, 2)
        self.down2 = nn.Sequential(_conv(c1, c2, 2), Residual(c2))
        self.down3 = nn.Sequential(_conv(c2, c3, 2), Residual(c3), Residual(c3))
        self.down4 = nn.Sequential(_conv(c3, c4, 2), Residual(c4), Residual(c4))
        self.down5 = nn.Sequential(_conv(c4, c5, 2), Residual(c5), GlobalContext(c5), Residual(c5), GlobalContext(c5))
        self.up4 = Up(c5, c4)
        self.up3 = Up(c4, c3)
        self.up2 = Up(c3, c2)
        self.up1 = nn.Conv2d(c2, 24, 1)
        self.mix1 = _conv(24 + c1, 32, 1)
        # One set of logits for each pixel of a 2×2 block; ``phase`` computes one of the four.
        self.logits = nn.Conv2d(32, 4 * BINS, 1)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.logits(self.trunk(image)), 2)

    def phase(self, image: torch.Tensor, row: int, column: int) -> torch.Tensor:
        """The logits of every second pixel, ``forward(image)[:, :, row::2, column::2]``, at a quarter of the head's cost."""
        pick = slice(2 * row + column, None, 4)
        return F.conv2d(self.trunk(image), self.logits.weight[pick], self.logits.bias[pick])

    def trunk(self, image: torch.Tensor) -> torch.Tensor:
        """Features [B, 32, h/2, w/2] before the logits."""
        x1 = self.stem((image - self.mean) / self.deviation)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x4 = self.down4(x3)
        x = self.up4(self.down5(x4), x4)
        x = self.up2(self.up3(x, x3), x2)
        x = F.interpolate(self.up1(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.mix1(torch.cat([x, x1], 1))


def expected_log_depth(logits: torch.Tensor) -> torch.Tensor:
    """The head's final projection: mean of log canonical depth under the softmax, [B, BINS, h, w] → [B, h, w]."""
    return torch.einsum("bchw,c->bhw", logits.float().softmax(1), bin_centers().to(logits.device))


def _conv(cin: int, cout: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + conv(relu(conv(x))), batch-normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels, 1), nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


class GlobalContext(nn.Module):
    """Adds a learned projection of the whole frame's mean: scale is a property of the scene, not of a patch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.project(x.mean((2, 3)))[:, :, None, None]


class Up(nn.Module):
    """Project, enlarge, add the encoder's map of that size, refine."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(cin, cout, 1)
        self.refine = Residual(cout)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.refine(F.interpolate(self.project(x), size=skip.shape[2:], mode="bilinear", align_corners=False) + skip)
