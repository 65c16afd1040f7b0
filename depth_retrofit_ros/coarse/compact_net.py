"""The network of ``compact``: a small residual encoder-decoder that classifies log depth.

The head's last features are 32 logits over log-spaced depth bins and the final projection is their softmax expectation, so that the
entropy which selects pixels is the entropy of an actual distribution over depth: it is high exactly where two surfaces compete. The
bins are relative to the frame's median depth, which a separate scalar predicts; otherwise doubt about the scale of the whole scene
would spread every pixel's distribution and drown the edges.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

BINS = 32
SPAN = 2.5  # bins cover ln(depth / the frame's median depth) in ±SPAN
LONG_SIDE = 256
MULTIPLE = 16
CANONICAL_F_PX = 256.0  # focal length, in pixels of the network's input, at which the network's depths are metres


def bin_centers() -> torch.Tensor:
    """ln(depth / median depth) at each bin, float32 [BINS]."""
    return torch.linspace(-SPAN, SPAN, BINS)


class CompactNet(nn.Module):
    """image [B, 3, h, w] in 0…1 (h, w multiples of 16) → logits [B, BINS, h/2, w/2] and ln of the canonical median depth [B]."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, widths: tuple[int, int, int, int, int] = (16, 32, 64, 128, 192)) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = widths
        self.stem = _conv(3, c1, 2)
        self.down2 = nn.Sequential(_conv(c1, c2, 2), Residual(c2))
        self.down3 = nn.Sequential(_conv(c2, c3, 2), Residual(c3), Residual(c3))
        self.down4 = nn.Sequential(_conv(c3, c4, 2), Residual(c4), Residual(c4))
        self.down5 = nn.Sequential(_conv(c4, c5, 2), Residual(c5), GlobalContext(c5), Residual(c5), GlobalContext(c5))
        level = nn.Linear(64, 1)
        nn.init.constant_(level.bias, 1.5)  # e^1.5 = 4.5 m
        self.scale = nn.Sequential(nn.Linear(c5, 64), nn.ReLU(), level)
        self.up4 = Up(c5, c4)
        self.up3 = Up(c4, c3)
        self.up2 = Up(c3, c2)
        self.up1 = nn.Conv2d(c2, 24, 1)
        self.mix1 = _conv(24 + c1, 32, 1)
        self.logits = nn.Conv2d(32, BINS, 1)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x1 = self.stem((image - self.mean) / self.deviation)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x4 = self.down4(x3)
        x5 = self.down5(x4)
        log_median = self.scale(x5.mean((2, 3)))[:, 0]
        x = self.up4(x5, x4)
        x = self.up2(self.up3(x, x3), x2)
        x = F.interpolate(self.up1(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.logits(self.mix1(torch.cat([x, x1], 1))), log_median


def expected_log_depth(logits: torch.Tensor) -> torch.Tensor:
    """The head's final projection: mean of ln(depth / median) under the softmax, [B, BINS, h, w] → [B, h, w]."""
    # Not a matrix product: autocast would round depth to half precision.
    return (logits.float().softmax(1) * bin_centers().to(logits.device)[:, None, None]).sum(1)


def _conv(cin: int, cout: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + conv(relu(conv(x))), batch-normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, 1), nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

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
