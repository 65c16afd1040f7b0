"""The network of ``compact``: a pretrained encoder and a light decoder that classifies log depth.

The head's last features are 32 logits over log-spaced depth bins and the final projection is their softmax expectation, so that the
entropy which selects pixels is the entropy of an actual distribution over depth: it is high exactly where two surfaces compete. The
bins are relative to the frame's median depth, which a separate scalar predicts; otherwise doubt about the scale of the whole scene
would spread every pixel's distribution and drown the edges.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from depth_retrofit_ros.coarse.efficientnet_lite import CHANNELS, EfficientNetLite0

BINS = 32
SPAN = 2.5  # bins cover ln(depth / the frame's median depth) in ±SPAN
CANONICAL_F_PX = 256.0  # focal length, in pixels of the network's input, at which the network's depths are metres
WIDTHS = (24, 40, 64, 96, 128)  # channels of the decoder at 1/2, 1/4 … 1/32


def bin_centers(device: torch.device | None = None) -> torch.Tensor:
    """ln(depth / median depth) at each bin, float32 [BINS], made on the device: no copy for which a frame would wait."""
    return torch.linspace(-SPAN, SPAN, BINS, device=device)


class CompactNet(nn.Module):
    """image [B, 3, h, w] in 0…1 (h, w multiples of 16) → logits [B, BINS, h/2, w/2] and ln of the canonical median depth [B]."""

    def __init__(self) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = CHANNELS
        w1, w2, w3, w4, w5 = WIDTHS
        self.encoder = EfficientNetLite0()
        self.bottom = nn.Sequential(nn.Conv2d(c5, w5, 1), GlobalContext(w5), Residual(w5), GlobalContext(w5))
        level = nn.Linear(64, 1)
        nn.init.constant_(level.bias, 1.5)  # e^1.5 = 4.5 m
        self.scale = nn.Sequential(nn.Linear(c5 + w5, 64), nn.ReLU(), level)
        self.up4 = Up(w5, c4, w4)
        self.up3 = Up(w4, c3, w3)
        self.up2 = Up(w3, c2, w2)
        self.up1 = nn.Conv2d(w2, w1, 1)
        self.mix1 = nn.Sequential(nn.Conv2d(w1 + c1, w1, 3, 1, 1), nn.ReLU(inplace=True))
        self.logits = nn.Conv2d(w1, BINS, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, pooled = self.decoded(image)
        return self.logits(features), self.scale(pooled)[:, 0]

    def decoded(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``logits`` is given ``[B, C, h/2, w/2]``, and what ``scale`` is, a mean over the frame ``[B, C]``."""
        x1, x2, x3, x4, x5 = self.encoder(image)
        x = self.bottom(x5)
        pooled = torch.cat([x5.mean((2, 3)), x.mean((2, 3))], 1)
        x = self.up2(self.up3(self.up4(x, x4), x3), x2)
        x = _twice(self.up1(x), x1)
        return self.mix1(torch.cat([x, x1], 1)), pooled


class CompactDepth(nn.Module):
    """image [B, 3, h, w] in 0…1 → ln of the canonical depth ``float32 [B, h/2, w/2]`` and the logits ``float32 [B, BINS, …]``."""

    def __init__(self, net: CompactNet) -> None:
        super().__init__()
        self.net = net

    def exact(self) -> Iterator[nn.Module]:
        """What gives logarithms: of depth, of its distribution, and of the frame's median."""
        yield self.net.logits
        yield self.net.scale

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, pooled = self.net.decoded(image)
        logits, log_median = self.net.logits(features.float()), self.net.scale(pooled.float())
        return expected_log_depth(logits) + log_median[:, :, None], logits


def expected_log_depth(logits: torch.Tensor) -> torch.Tensor:
    """The head's final projection: mean of ln(depth / median) under the softmax, [B, BINS, h, w] → [B, h, w]."""
    # Not a matrix product: autocast would round depth to half precision.
    return (logits.float().softmax(1) * bin_centers(logits.device)[:, None, None]).sum(1)


def _twice(x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """x at twice its size, cut to that of ``skip``: an odd map's last row and column lie half beyond the image."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, : skip.shape[2], : skip.shape[3]]


class Residual(nn.Module):
    """x + conv(relu(conv(x))). It begins as the identity, which trains without normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, 1, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(inplace=True), last)

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
    """Project, enlarge, add a projection of the encoder's map of that size, refine."""

    def __init__(self, cin: int, cskip: int, cout: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(cin, cout, 1)
        self.skip = nn.Conv2d(cskip, cout, 1)
        self.refine = Residual(cout)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.refine(_twice(self.project(x), skip) + self.skip(skip))
