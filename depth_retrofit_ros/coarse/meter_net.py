"""METER-XXS: a mobile vision transformer for monocular depth (Papa, Russo, Amerini, IEEE TCSVT 2023; arXiv 2403.08368).

0.71 M parameters. The encoder alternates inverted residuals and MobileViT blocks down to 1/32, the decoder climbs back to 1/4 with
three skips. Module names follow the public checkpoints, so that these load strictly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS, HEAD_CHANNELS, PATCH = 4, 8, 2


class MeterXXS(nn.Module):
    """``float32 [B, 3, h, w]`` → depth ``[B, h/4, w/4]`` in the checkpoint's unit, and the 8-channel features behind it.

    Sizes round up at each halving (636 columns become 159 at 1/4, and 160 in the result); those at 1/8, 1/16 and 1/32 must be even,
    since the transformer cuts them into 2×2 patches. The two sizes that METER is trained with, 192×256 and 192×636, fit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def exact(self) -> Iterator[nn.Module]:
        """The last projection."""
        yield self.decoder.conv2d_out

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.decoder(*self.encoder(image))
        return self.decoder.conv2d_out(features.float())[:, 0], features


class Encoder(nn.Module):
    """Image → features at 1/32 (160 channels) and the skips at 1/16 (64), 1/8 (48) and 1/4 (24)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv_pair(3, 16, stride=2)
        self.mv2 = nn.ModuleList(
            InvertedResidual(inputs, outputs, stride)
            for inputs, outputs, stride in [
                (16, 16, 1),
                (16, 24, 2),
                (24, 24, 1),
                (24, 24, 1),
                (24, 48, 2),
                (48, 64, 2),
                (64, 80, 2),
            ]
        )
        self.mvit = nn.ModuleList([MobileViTBlock(48, 64, 128), MobileViTBlock(64, 80, 320), MobileViTBlock(80, 96, 384)])
        self.conv2 = _conv1x1(80, 160)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        skip4 = self.mv2[1](self.mv2[0](self.conv1(image)))
        skip8 = self.mv2[4](self.mv2[3](self.mv2[2](skip4)))
        skip16 = self.mv2[5](self.mvit[0](skip8))
        bottom = self.mvit[2](self.mv2[6](self.mvit[1](skip16)))
        return self.conv2(bottom), skip16, skip8, skip4


class Decoder(nn.Module):
    """Three doublings, each joined with its skip: 1/32 → 1/4, 8 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_in = nn.Conv2d(160, 64, 1, bias=False)
        self.ups_block_1 = UpBlock(64, 32, skip=64)
        self.ups_block_2 = UpBlock(32, 16, skip=48)
        self.ups_block_3 = UpBlock(16, 8, skip=24)
        self.conv2d_out = nn.Conv2d(8, 1, 3, padding=1, bias=False)

    def forward(self, bottom: Tensor, skip16: Tensor, skip8: Tensor, skip4: Tensor) -> Tensor:
        x = self.ups_block_1(self.conv2d_in(bottom), skip16)
        x = self.ups_block_2(x, skip8)
        features: Tensor = self.ups_block_3(x, skip4)
        return features


class ConvPair(nn.Module):
    """3×3, then 1×1. The checkpoints call the first one depthwise, but its weights are those of a full convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.pointwise = nn.Conv2d(outputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class InvertedResidual(nn.Module):
    """MobileNetV2's block with twofold expansion; the shortcut where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = 2 * inputs
        self.shortcut = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *_conv1x1(inputs, hidden),
            nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileViTBlock(nn.Module):
    """Local features, one transformer layer across the 2×2 patches, and both joined with the block's input."""

    def __init__(self, channels: int, tokens: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = _conv_pair(channels, channels)
        self.conv2 = _conv1x1(channels, tokens)
        self.transformer = Transformer(tokens, hidden)
        self.conv3 = _conv1x1(tokens, channels)
        self.conv4 = _conv_pair(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        local = self.conv2(self.conv1(x))
        mixed = from_patches(self.transformer(to_patches(local)), local.shape[2], local.shape[3])
        joined: Tensor = self.conv4(torch.cat((self.conv3(mixed), x), 1))
        return joined


class Transformer(nn.Module):
    """One pre-norm layer; attention runs among the pixels that share a position within their patch."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        layer = [PreNorm(channels, Attention(channels)), PreNorm(channels, Perceptron(channels, hidden))]
        self.layers = nn.ModuleList([nn.ModuleList(layer)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            for part in layer:
                x = x + part(x)
        return x


class PreNorm(nn.Module):
    """Layer norm, then ``fn``."""

    def __init__(self, channels: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fn(self.norm(x))
        return y


class Perceptron(nn.Module):
    """Two linear layers. The key ``3`` of the second one is that of the checkpoints (they count a dropout)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        layers = {"0": nn.Linear(channels, hidden), "relu": nn.ReLU(inplace=True), "3": nn.Linear(hidden, channels)}
        self.net = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


class Attention(nn.Module):
    """Multi-head self-attention over ``[B, P, N, C]``: 4 heads of 8 channels among the N tokens of each of the P positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(channels, 3 * HEADS * HEAD_CHANNELS, bias=False)
        self.to_out = nn.Sequential(nn.Linear(HEADS * HEAD_CHANNELS, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, positions, tokens, _ = x.shape
        qkv = self.to_qkv(x).view(batch * positions, tokens, 3, HEADS, HEAD_CHANNELS)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        out: Tensor = self.to_out(mixed.reshape(batch, positions, tokens, HEADS * HEAD_CHANNELS))
        return out


class UpBlock(nn.Module):
    """Twice the size by a transposed convolution, then joined with a skip that may be one column narrower."""

    def __init__(self, inputs: int, outputs: int, skip: int) -> None:
        super().__init__()
        self.conv2d_transpose = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.end_up_layer = nn.Sequential(ConvPair(outputs + skip, outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.conv2d_transpose(x)
        missing = x.shape[3] - skip.shape[3]  # 1 at 1/4 of 636 columns; the checkpoint was trained with the gap on the left
        joined: Tensor = self.end_up_layer(torch.cat((x, F.pad(skip, (missing, 0))), 1))
        return joined


def to_patches(x: Tensor) -> Tensor:
    """``[B, C, H, W]`` → ``[B, 4, H/2·W/2, C]``: one row of tokens for each of the four positions within a 2×2 patch."""
    batch, channels, height, width = x.shape
    split = x.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return split.permute(0, 3, 5, 2, 4, 1).reshape(batch, PATCH * PATCH, -1, channels)


def from_patches(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of ``to_patches``."""
    batch, _, _, channels = tokens.shape
    split = tokens.view(batch, PATCH, PATCH, height // PATCH, width // PATCH, channels)
    return split.permute(0, 5, 3, 1, 4, 2).reshape(batch, channels, height, width)


def _conv1x1(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _conv_pair(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(ConvPair(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
