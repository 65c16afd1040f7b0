"""Metric3D v2 (arXiv 2404.15506): depth as a canonical camera would have it, and normals; names as in its public checkpoints.

A DINOv2 encoder with registers, a decoder in DPT's manner to a quarter of the input, where 256 bins tell depth and a perceptron
normals, and recurrent units at three scales that correct both a few times before they are brought to the input's size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.dinov2 import VIT_LARGE, VIT_SMALL, DinoV2, VitSize
from depth_retrofit_ros.coarse.networks.dpt import ResidualConvUnit
from depth_retrofit_ros.coarse.networks.metric3d_update import Update, conv3x3, upsampled
from depth_retrofit_ros.coarse.networks.resizing import corner_aligned

REGISTERS = 4
BINS = 256
NEAREST_M, FARTHEST_M, UNIT_M = 0.1, 200.0, 100.0  # of the canonical camera
CANONICAL_F_PX = 1000.0
NORMAL_WIDTH = 128


@dataclass(frozen=True, slots=True)
class Metric3DConfig:
    """Sizes of one variant.

    encoder: of DINOv2; features: channels that are read from the encoder at 2/7, 1/7, 1/14 and 1/14 of the input; decoder: of the
    decoder at 1/4, 1/7, 1/14 and 1/14; hidden: of the recurrent units; steps: how often they correct.
    """

    encoder: VitSize
    features: tuple[int, int, int, int]
    decoder: tuple[int, int, int, int]
    hidden: int
    steps: int


SMALL = Metric3DConfig(VIT_SMALL, (96, 192, 384, 768), (96, 192, 384, 384), 48, 4)
LARGE = Metric3DConfig(VIT_LARGE, (256, 512, 1024, 1024), (256, 512, 1024, 1024), 128, 8)


class Metric3D(nn.Module):
    """image ``[1, 3, H, W]``, normalised as for ImageNet, sides multiples of 28 → ``Decoder``'s answer."""

    def __init__(self, config: Metric3DConfig) -> None:
        super().__init__()
        self.encoder = DinoV2(config.encoder, registers=REGISTERS)
        self.decoder = Decoder(config)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Decoder``."""
        x = self.encoder.embed(image)
        for block in self.encoder.blocks:
            x = block(x)
        grid = (image.shape[2] // self.encoder.patch, image.shape[3] // self.encoder.patch)
        answer: tuple[Tensor, Tensor, Tensor] = self.decoder(self.encoder.norm(x), grid)
        return answer


class Decoder(nn.Module):
    """Tokens ``[1, 1 + registers + N, C]`` and their grid → three float32 maps.

    Depth ``[1, h, w]`` m of the canonical camera, at the input's size; the logarithm of the share of each depth bin before its
    correction, ``[1, 256, h/4, w/4]``; and normals ``[1, 3, h, w]``.
    """

    def __init__(self, config: Metric3DConfig) -> None:
        super().__init__()
        width, hidden = config.decoder[0], config.hidden
        self.steps = config.steps
        self.token2feature = EncoderFeatures(config.encoder.width, config.features)
        self.decoder_mono = Fusion(config.decoder)
        self.depth_regressor = nn.Sequential(conv3x3(width, BINS), nn.ReLU(), nn.Conv2d(BINS, BINS, 1))
        layers: list[nn.Module] = [conv3x3(width, NORMAL_WIDTH), nn.ReLU()]
        for out in (NORMAL_WIDTH, NORMAL_WIDTH):
            layers += [nn.Conv2d(NORMAL_WIDTH, out, 1), nn.ReLU()]
        self.normal_predictor = nn.Sequential(*layers, nn.Conv2d(NORMAL_WIDTH, 3, 1))
        self.context_feature_encoder = Context(config.features[:3], hidden)
        self.context_zqr_convs = nn.ModuleList([conv3x3(hidden, 3 * hidden) for _ in range(3)])
        self.update_block = Update(hidden)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        deep, mid, fine, finest = self.token2feature(tokens, grid)
        read = self.decoder_mono(deep, mid, fine)
        shared, depth_confidence, normal_confidence = read[:, :-2], read[:, -2:-1], read[:, -1:]
        scores = self.depth_regressor(shared).float()
        bins = torch.linspace(math.log(NEAREST_M), math.log(FARTHEST_M), BINS, device=scores.device).exp()
        depth = (scores.softmax(1) * bins.view(1, -1, 1, 1)).sum(1, keepdim=True).clamp(NEAREST_M, FARTHEST_M)
        normal = normalized(torch.cat((self.normal_predictor(shared), normal_confidence), 1).float())
        state = torch.cat(((depth - FARTHEST_M) / UNIT_M, depth_confidence.float(), normal), 1)

        contexts = self.context_feature_encoder((finest, fine.relu(), mid.relu()))  # as published: fusion rectifies these in place
        units = [start.tanh() for start, _ in contexts]
        gates = [
            convolve(context.relu()).chunk(3, 1) for convolve, (_, context) in zip(self.context_zqr_convs, contexts, strict=True)
        ]
        for _ in range(self.steps):
            units, weights, change = self.update_block(units, gates, state.to(units[0].dtype))
            state = state + change.float()
        full = upsampled(state, weights.float())
        depth = (full[:, 0] * UNIT_M + FARTHEST_M).clamp(NEAREST_M, FARTHEST_M)
        return depth, scores.log_softmax(1), normalized(full[:, 2:])[:, :3]


class EncoderFeatures(nn.Module):
    """tokens → maps at 1/14, 1/14, 1/7 and 2/7 of the input, all of the same last block."""

    def __init__(self, width: int, features: Sequence[int]) -> None:
        super().__init__()
        self.read_3, self.read_2 = Read(width, nn.Identity()), Read(width, nn.Identity())
        self.read_1 = Read(width, nn.ConvTranspose2d(width, features[1], 2, 2))
        self.read_0 = Read(width, nn.Sequential(nn.Conv2d(width, features[0], 1)))

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows, columns = grid
        enlarged = (rows * 7 // 2, columns * 7 // 2)
        return (
            self.read_3(tokens, grid),
            self.read_2(tokens, grid),
            self.read_1(tokens, grid),
            self.read_0(tokens, grid, enlarged),
        )


class Read(nn.Module):
    """tokens and grid → ``[1, C, rows, columns]``, with what class and register tokens say added everywhere; then ``sample``."""

    def __init__(self, width: int, sample: nn.Module) -> None:
        super().__init__()
        self.readoper = nn.ModuleDict(
            {"project_patch": nn.Linear(width, width), "project_learn": nn.Linear((1 + REGISTERS) * width, width, bias=False)}
        )
        self.sample = sample

    def forward(self, tokens: Tensor, grid: tuple[int, int], enlarged: tuple[int, int] | None = None) -> Tensor:
        patches, others = tokens[:, 1 + REGISTERS :], tokens[:, : 1 + REGISTERS].flatten(1)
        read = F.gelu(self.readoper["project_patch"](patches) + self.readoper["project_learn"](others)[:, None])
        maps = read.transpose(1, 2).unflatten(2, grid)
        out: Tensor = self.sample(maps if enlarged is None else F.interpolate(maps, enlarged, mode="nearest"))
        return out


class Fusion(nn.Module):
    """The three coarser maps → ``[1, C + 2, h/4, w/4]``: features, and the confidences of depth and normal."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.upconv_3 = Fuse(widths[3], widths[2], branch=False)
        self.upconv_2 = Fuse(widths[2], widths[1])
        self.upconv_1 = Fuse(widths[1], widths[0] + 2)

    def forward(self, deep: Tensor, mid: Tensor, fine: Tensor) -> Tensor:
        rows, columns = deep.shape[-2:]
        x = self.upconv_2(self.upconv_3(deep), mid, (2 * rows, 2 * columns))
        out: Tensor = self.upconv_1(x, fine, (rows * 7 // 2, columns * 7 // 2))
        return out


class Fuse(nn.Module):
    """Adds a finer map, convolves, enlarges."""

    def __init__(self, width: int, out: int, branch: bool = True) -> None:
        super().__init__()
        self.way_trunk = ResidualConvUnit(width, rectified=True)
        if branch:
            self.way_branch = ResidualConvUnit(width, rectified=True)
        self.out_conv = nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor, finer: Tensor | None = None, size: tuple[int, int] | None = None) -> Tensor:
        if finer is not None:
            x = x + self.way_branch(finer)
        x = self.way_trunk(x)
        if size is not None:
            x = corner_aligned(x, size)
        out: Tensor = self.out_conv(x)
        return out


class Context(nn.Module):
    """Maps at 2/7, 1/7 and 1/14 → for each scale the units' start and their context, each ``[1, hidden, …]``."""

    def __init__(self, features: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.outputs04, self.outputs08, self.outputs16 = (
            nn.ModuleList([nn.Sequential(NormedResidual(width, hidden), conv3x3(hidden, hidden)) for _ in range(2)])
            for width in features
        )

    def forward(self, maps: Sequence[Tensor]) -> list[list[Tensor]]:
        scales = (self.outputs04, self.outputs08, self.outputs16)
        return [[output(x) for output in outputs] for outputs, x in zip(scales, maps, strict=True)]


class NormedResidual(nn.Module):
    """Two convolutions with layer norm over the channels, and a projected shortcut where the width changes."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3x3(width, out), conv3x3(out, out)
        self.norm1, self.norm2 = ChannelNorm(out), ChannelNorm(out)
        if width != out:
            self.norm3 = ChannelNorm(out)  # the checkpoints have it under both names
            self.downsample = nn.Sequential(nn.Conv2d(width, out, 1), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu())).relu()
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        out: Tensor = (shortcut + y).relu()
        return out


class ChannelNorm(nn.LayerNorm):
    """Over the channels of ``[1, C, h, w]``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def normalized(normal: Tensor) -> Tensor:
    """``[1, 4, …]``: a normal of any length and a concentration of any sign → one of unit length and a positive one."""
    direction, concentration = normal[:, :3], normal[:, 3:]
    return torch.cat((direction / (direction.norm(dim=1, keepdim=True) + 1e-10), F.elu(concentration) + 1.01), 1)


def published_name(name: str) -> str:
    """The checkpoints' name of a tensor of ours, without their prefix: their encoder has its blocks in one chunk."""
    return name.replace("encoder.blocks.", "encoder.blocks.0.")
