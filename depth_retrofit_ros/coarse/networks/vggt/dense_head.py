"""VGGT's dense heads: a dense prediction transformer (arXiv 2103.13413) over four layers of the aggregator's patch tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.vggt.aggregator import EPS, EXTRA_TOKENS

FEATURES = 32  # channels before the last projection
POSITION_SHARE = 0.1  # of the position embedding that is added to feature maps
_POSITION_BASE = 100.0


class DenseHead(nn.Module):
    """token_width: of the tokens, twice the aggregator's; stages: channels of the four layers; width: where they are fused.

    outputs: channels of the answer before its output map, the confidence's among them.
    """

    def __init__(self, token_width: int, outputs: int, stages: Sequence[int], width: int, patch: int = 14) -> None:
        super().__init__()
        self.patch = patch
        self.norm = nn.LayerNorm(token_width, eps=EPS)
        self.projects = nn.ModuleList([nn.Conv2d(token_width, channels, 1) for channels in stages])
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(stages[0], stages[0], 4, 4),
                nn.ConvTranspose2d(stages[1], stages[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(stages[3], stages[3], 3, 2, 1),
            ]
        )
        self.scratch = Fusion(stages, width, outputs)

    def forward(self, tokens: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
        """tokens: of four layers, each ``[S, T, C]``; height, width: of the images [px].

        Returns the raw answer ``[S, outputs, H, W]`` before the output map, and the features ``[S, FEATURES, H, W]`` before the
        last projection, which are ≥ 0.
        """
        rows, columns = height // self.patch, width // self.patch
        aspect = width / height
        maps = []
        for layer, project, resize in zip(tokens, self.projects, self.resize_layers, strict=True):
            x = self.norm(layer[:, EXTRA_TOKENS:]).transpose(1, 2).unflatten(-1, (rows, columns))
            maps.append(resize(_with_positions(project(x), aspect)))
        x = F.interpolate(self.scratch(maps), (height, width), mode="bilinear", align_corners=True)
        features = self.scratch.output_conv2[:2](_with_positions(x, aspect))
        return self.scratch.output_conv2[2](features), features


class Fusion(nn.Module):
    """The four maps, from the coarsest to the finest, added up into one."""

    def __init__(self, stages: Sequence[int], width: int, outputs: int) -> None:
        super().__init__()
        self.layer1_rn = nn.Conv2d(stages[0], width, 3, padding=1, bias=False)
        self.layer2_rn = nn.Conv2d(stages[1], width, 3, padding=1, bias=False)
        self.layer3_rn = nn.Conv2d(stages[2], width, 3, padding=1, bias=False)
        self.layer4_rn = nn.Conv2d(stages[3], width, 3, padding=1, bias=False)
        self.refinenet1 = FusionBlock(width)
        self.refinenet2 = FusionBlock(width)
        self.refinenet3 = FusionBlock(width)
        self.refinenet4 = FusionBlock(width, takes_finer=False)
        self.output_conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(nn.Conv2d(width // 2, FEATURES, 3, padding=1), nn.ReLU(), nn.Conv2d(FEATURES, outputs, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """maps ``[S, stages[i], h/2^i, w/2^i]`` → ``[S, width / 2, 2h, 2w]``."""
        one, two, three, four = (
            conv(x) for conv, x in zip((self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn), maps, strict=True)
        )
        x = self.refinenet4(four, None, three.shape[-2:])
        x = self.refinenet3(x, three, two.shape[-2:])
        x = self.refinenet2(x, two, one.shape[-2:])
        x = self.refinenet1(x, one, (2 * one.shape[-2], 2 * one.shape[-1]))
        y: Tensor = self.output_conv1(x)
        return y


class FusionBlock(nn.Module):
    """Adds the finer map to what came from the coarser ones, and brings the sum to the next size."""

    def __init__(self, width: int, takes_finer: bool = True) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, width, 1)
        if takes_finer:
            self.resConfUnit1 = ResidualUnit(width)
        self.resConfUnit2 = ResidualUnit(width)

    def forward(self, x: Tensor, finer: Tensor | None, size: Sequence[int]) -> Tensor:
        if finer is not None:
            x = x + self.resConfUnit1(finer)
        x = F.interpolate(self.resConfUnit2(x), tuple(size), mode="bilinear", align_corners=True)
        y: Tensor = self.out_conv(x)
        return y


class ResidualUnit(nn.Module):
    """Two convolutions, added to the rectified input: the published network rectifies in place, and was trained so."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.relu()
        y: Tensor = x + self.conv2(self.conv1(x).relu())
        return y


def _with_positions(x: Tensor, aspect: float) -> Tensor:
    """x ``[S, C, h, w]`` with sines and cosines of each pixel's place added; aspect: the image's width by its height.

    Places are in units of half the image's diagonal, from its center.
    """
    channels, height, width = x.shape[1:]
    diagonal = (1 + aspect**2) ** 0.5
    along_x = _waves(width, aspect / diagonal, channels // 2, x)[:, None, :].expand(-1, height, -1)
    along_y = _waves(height, 1 / diagonal, channels // 2, x)[:, :, None].expand(-1, -1, width)
    return x + POSITION_SHARE * torch.cat((along_x, along_y))


def _waves(count: int, span: float, channels: int, like: Tensor) -> Tensor:
    """``[channels, count]``: sines, then cosines, of pixel centers over ±span."""
    edge = span * (count - 1) / count
    place = torch.linspace(-edge, edge, count, dtype=like.dtype, device=like.device).double()
    exponents = torch.arange(channels // 2, dtype=torch.float64, device=like.device) / (channels / 2)
    angles = _POSITION_BASE ** -exponents[:, None] * place
    return torch.cat((angles.sin(), angles.cos())).to(like.dtype)
