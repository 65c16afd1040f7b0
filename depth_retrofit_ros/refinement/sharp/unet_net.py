"""The small network of SharpDepth: a U-Net on 2x2 blocks of pixels, which answers at once (x₀ form)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.refinement.tiles.surfaces import COUNT

BLOCK = 2  # px a side that become channels of one
WIDTHS = (24, 48, 96, 96)  # at 1/2, 1/4, 1/8 and 1/16 of the size
GROUPS = 8
CHANNELS = 5 + COUNT + 1 + COUNT  # of its input: color, state, share of noise; how far surfaces are, in depth and in color
ANSWERS = 1 + COUNT  # an offset and the logits of the surfaces, see ``tiles.surfaces``


class Residual(nn.Module):
    """Two convolutions, each after group normalisation and SiLU, around a shortcut."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList((nn.GroupNorm(GROUPS, channels), nn.GroupNorm(GROUPS, out)))
        self.convs = nn.ModuleList((nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)))
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(F.silu(norm(y)))
        return self.shortcut(x) + y


class SmallUNet(nn.Module):
    """``[T, CHANNELS, S, S]`` → ``[T, ANSWERS, S, S]``, S a multiple of 16. The last layer begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(CHANNELS * BLOCK**2, WIDTHS[0], 3, padding=1)
        self.down = nn.ModuleList(Residual(width, width) for width in WIDTHS)
        pairs = list(pairwise(WIDTHS))
        self.shrink = nn.ModuleList(nn.Conv2d(width, below, 3, 2, 1) for width, below in pairs)
        self.middle = Residual(WIDTHS[-1], WIDTHS[-1])
        self.up = nn.ModuleList(Residual(width + below, width) for width, below in reversed(pairs))
        self.norm = nn.GroupNorm(GROUPS, WIDTHS[0])
        self.last = nn.Conv2d(WIDTHS[0], ANSWERS * BLOCK**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(F.pixel_unshuffle(x, BLOCK))
        kept = []
        for index, block in enumerate(self.down):
            x = block(x)
            if index < len(self.shrink):
                kept.append(x)
                x = self.shrink[index](x)
        x = self.middle(x)
        for block in self.up:
            x = block(torch.cat((x.repeat_interleave(2, 2).repeat_interleave(2, 3), kept.pop()), 1))
        return F.pixel_shuffle(self.last(F.silu(self.norm(x))), BLOCK)
