"""PatchRefiner V2's two-way fusion of a tile's features with what the coarse model says there (arXiv 2501.01121, section 3.2).

Coarse to fine (C2F) cleans the encoder's features by Guided Denoising Units, which the coarse maps steer; fine to coarse (F2C)
joins both and predicts an offset. Pyramids are listed finest first: the tile's size, then halved five times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6


@dataclass(frozen=True, slots=True)
class FusionWidths:
    """Channels. fine: of the encoder's five maps, strides 2 to 32; coarse: of the six coarse maps, strides 1 to 32, of which the
    last five have ``path``; path: within C2F; joint: of both together, strides 1 to 32; decoder: of F2C, strides 16 to 1; answers:
    of the result."""

    fine: tuple[int, ...]
    coarse: tuple[int, ...]
    path: int
    joint: tuple[int, ...]
    decoder: tuple[int, ...]
    answers: int = 1

    def __post_init__(self) -> None:
        lengths = [len(widths) for widths in (self.fine, self.coarse, self.joint, self.decoder)]
        if lengths != [5, 6, 6, 5] or any(width != self.path for width in self.coarse[1:]):
            raise ValueError("widths of five fine and six coarse maps, of six joint ones and five of the decoder; coarse as path")


class ChannelNorm(nn.Module):
    """Each pixel's channels to mean 0 and deviation 1, then scaled and shifted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]``."""
        return F.layer_norm(x.movedim(1, -1), (x.shape[1],), self.weight, self.bias, EPS).movedim(-1, 1)


class GuidedDenoisingUnit(nn.Module):
    """A residual step, then a mask 0…1 from the result and the coarse map: it can only attenuate, the skip included."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Conv2d(channels, channels, 3, padding=1)
        self.joint = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.norm = ChannelNorm(channels)
        self.mask = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        """x, coarse: ``[B, C, H, W]``."""
        x = x + self.residual(F.relu(x))
        return x * self.mask(F.relu(self.norm(self.joint(torch.cat((x, coarse), 1))))).sigmoid()


class PlainUnit(nn.Module):
    """In place of a Guided Denoising Unit: the residual step, then both maps are joined. For the ablation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Conv2d(channels, channels, 3, padding=1)
        self.joint = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        """x, coarse: ``[B, C, H, W]``."""
        x = x + self.residual(F.relu(x))
        return self.joint(torch.cat((x, coarse), 1))


class GuidedBlock(nn.Module):
    """One level of C2F: the level's own map and what comes from below are denoised, added and enlarged.

    skips: whether there is a map from below beside the level's own. guided: whether by Guided Denoising Units.
    """

    def __init__(self, channels: int, skips: bool, guided: bool) -> None:
        super().__init__()
        unit = GuidedDenoisingUnit if guided else PlainUnit
        self.own = unit(channels) if skips else None
        self.sum = unit(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, own: Tensor, coarse: Tensor, below: Tensor | None = None, size: Sequence[int] | None = None) -> Tensor:
        """own, below, coarse: ``[B, C, h, w]``; size: to enlarge to, None to stay."""
        x = own if below is None or self.own is None else below + self.own(own, coarse)
        x = self.sum(x, coarse)
        return self.project(x if size is None else enlarged(x, size))


class CoarseToFine(nn.Module):
    """The encoder's pyramid → six denoised maps, and a depth of the tile that they alone give."""

    def __init__(self, widths: FusionWidths, guided: bool) -> None:
        super().__init__()
        path, last = widths.path, widths.coarse[0]
        self.lateral = nn.ModuleList(nn.Conv2d(width, path, 3, padding=1, bias=False) for width in widths.fine)
        self.blocks = nn.ModuleList(GuidedBlock(path, level < 4, guided) for level in range(5))
        self.narrow = nn.Conv2d(path, path // 2, 3, padding=1)
        self.last = nn.Conv2d(path // 2, last, 3, padding=1)
        self.block0 = GuidedBlock(last, False, guided)
        self.depth = nn.Conv2d(last, 1, 1)
        nn.init.normal_(self.depth.weight, mean=1.0)
        assert self.depth.bias is not None
        nn.init.zeros_(self.depth.bias)

    def forward(self, fine: Sequence[Tensor], coarse: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """fine: five maps, coarse: six → the six maps, finest first, and ``[B, 1, H, W]``."""
        own = [convolve(level) for convolve, level in zip(self.lateral, fine, strict=True)]
        maps, x = [own[4]], None
        for level in range(4, 0, -1):
            x = self.blocks[level](own[level], coarse[level + 1], x, own[level - 1].shape[2:])
            maps.append(x)
        height, width = own[0].shape[2:]
        x = self.blocks[0](own[0], coarse[1], x, (2 * height, 2 * width))
        x = self.block0(F.relu(self.last(self.narrow(x))), coarse[0])
        return [x, *reversed(maps)], self.depth(x)


class FineToCoarse(nn.Module):
    """Denoised and coarse maps with both depths → what is to be added to the coarse depth."""

    def __init__(self, widths: FusionWidths) -> None:
        super().__init__()
        fine = (widths.coarse[0], *(widths.path,) * 5)
        joint = widths.joint
        self.join = nn.ModuleList(NormedConv(a + b, c) for a, b, c in zip(widths.coarse, fine, joint, strict=True))
        self.inform = nn.ModuleList(NormedConv(c + 2, c) for c in joint)
        above = (joint[5], *widths.decoder[:4])
        self.decode = nn.ModuleList(
            DoubleConv(skip + below + 2, width) for skip, below, width in zip(joint[4::-1], above, widths.decoder, strict=True)
        )
        self.offset = nn.Conv2d(widths.decoder[4], widths.answers, 3, padding=1, bias=False)

    def forward(self, fine: Sequence[Tensor], coarse: Sequence[Tensor], depths: Tensor) -> Tensor:
        """fine, coarse: six maps; depths: ``[B, 2, H, W]``, the coarse model's and the tile's own → ``[B, 1, H, W]``."""
        told = [enlarged(depths, level.shape[2:]) for level in fine]
        levels = [
            inform(torch.cat((join(torch.cat((c, f), 1)), t), 1))
            for join, inform, c, f, t in zip(self.join, self.inform, coarse, fine, told, strict=True)
        ]
        x = levels[5]
        for decode, level in zip(self.decode, range(4, -1, -1), strict=True):
            skip = levels[level]
            x = decode(torch.cat((enlarged(x, skip.shape[2:]), skip, told[level]), 1))
        return self.offset(x)


class NormedConv(nn.Module):
    """3x3, channel norm, GELU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, out, 3, padding=1, bias=False), ChannelNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]``."""
        return F.gelu(self.norm(self.conv(x)))


class DoubleConv(nn.Sequential):
    """Twice 3x3 and GELU; the first keeps the channels."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GELU(),
            nn.Conv2d(channels, out, 3, padding=1, bias=False),
            nn.GELU(),
        )


def enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    """``[B, C, h, w]`` → ``[B, C, *size]``, corners on corners, as the published weights were trained."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class TwoWayFusion(nn.Module):
    """C2F, then F2C. guided: whether C2F denoises by Guided Denoising Units."""

    def __init__(self, widths: FusionWidths, guided: bool = True) -> None:
        super().__init__()
        self.widths = widths
        self.c2f, self.f2c = CoarseToFine(widths, guided), FineToCoarse(widths)

    def forward(self, fine: Sequence[Tensor], coarse: Sequence[Tensor], depth: Tensor) -> tuple[Tensor, Tensor]:
        """fine: five maps of the encoder; coarse: six maps, the coarse model's features within the tile; depth: its depth there,
        ``[B, 1, H, W]`` → the offset to that depth, and the tile's own depth, ``[B, 1, H, W]`` each."""
        coarse = [enlarged(c, (depth.shape[2] >> i, depth.shape[3] >> i)) for i, c in enumerate(coarse)]
        denoised, own = self.c2f(fine, coarse)
        return self.f2c(denoised, coarse, torch.cat((depth, enlarged(own, depth.shape[2:])), 1)), own
