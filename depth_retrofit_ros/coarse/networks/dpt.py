"""The head of the dense prediction transformer (DPT, arXiv 2103.13413), as models on DINOv2 have it; names as in their checkpoints.

Four token maps of one size become a pyramid with strides of 1/4, 1/2, 1 and 2 patches, fused from coarse to fine.
What the released heads differ in are ``DptHead``'s arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.resizing import corner_aligned

PATCH = 14  # px of the image to a token
HEAD_CHANNELS = 32  # of the features before the last projection
POSITION_SHARE, POSITION_BASE = 0.1, 100.0


class DptHead(nn.Module):
    """Tokens of an image → features at its size; what becomes of them, each subclass says.

    width: of the tokens; channels: of the four levels; features: of the fused maps; outputs: of the last projection;
    lateral4: whether the coarsest fusion has the weights of a lateral input, which it never gets (the checkpoint decides);
    sky: whether there are output layers for the sky, too;
    normed: whether the head norms the tokens itself; rectified: see ``ResidualConvUnit``; positions: in which precision the
    position in the image plane, which is added to the maps, is computed, None for a head that adds none.
    """

    def __init__(
        self,
        width: int,
        channels: Sequence[int],
        features: int,
        outputs: int = 1,
        *,
        lateral4: bool = False,
        sky: bool = False,
        normed: bool = False,
        rectified: bool = False,
        positions: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.positions = positions
        self.norm: nn.Module = nn.LayerNorm(width) if normed else nn.Identity()
        self.projects = nn.ModuleList([nn.Conv2d(width, count, 1) for count in channels])
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, 1),
            ]
        )
        self.scratch = Scratch(channels, features, outputs, lateral4, sky, rectified)

    def fused(self, tokens: Sequence[Tensor], height: int, width: int) -> Tensor:
        """tokens: four times ``[B, N, C]``, of an image of that size [px] → ``[B, features / 2, H, W]``."""
        return self.at_image_size(self.fuse(self.reassemble(tokens, height, width)), height, width)

    def reassemble(self, tokens: Sequence[Tensor], height: int, width: int) -> list[Tensor]:
        """The pyramid of an image of that size, finest level first."""
        grid, pyramid = (height // PATCH, width // PATCH), []
        for x, to_level, resize in zip(tokens, self.projects, self.resize_layers, strict=True):
            level = to_level(self.norm(x).transpose(1, 2).unflatten(2, grid))
            pyramid.append(resize(self.placed(level, width / height)))
        return pyramid

    def fuse(self, pyramid: Sequence[Tensor]) -> Tensor:
        """The pyramid → one map at twice its finest level's size."""
        scratch = self.scratch
        level1, level2, level3, level4 = scratch.adapt(pyramid)
        path = scratch.refinenet4(level4, size=level3.shape[2:])
        path = scratch.refinenet3(path, level3, size=level2.shape[2:])
        path = scratch.refinenet2(path, level2, size=level1.shape[2:])
        fused: Tensor = scratch.refinenet1(path, level1)
        return fused

    def at_image_size(self, fused: Tensor, height: int, width: int) -> Tensor:
        """The fused map → half as many channels at the image's size."""
        return self.placed(corner_aligned(self.scratch.output_conv1(fused), (height, width)), width / height)

    def placed(self, x: Tensor, aspect: float) -> Tensor:
        """With the position in the image plane added, if this head does that; aspect: of the image, width / height."""
        return x if self.positions is None else x + POSITION_SHARE * plane_embedding(x, aspect, self.positions)


class DenseHead(DptHead):
    """The fused features, projected."""

    def forward(self, tokens: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
        """tokens: four times ``[B, N, C]``, of an image of that size [px] → features ``[B, 32, H, W]`` ≥ 0 and what they are
        projected to, ``[B, outputs, H, W]``."""
        return project(self.scratch.output_conv2, self.fused(tokens, height, width))


class Scratch(nn.Module):
    """The head's fusion and its output layers."""

    def __init__(self, channels: Sequence[int], features: int, outputs: int, lateral4: bool, sky: bool, rectified: bool) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(count, features, 3, padding=1, bias=False) for count in channels
        )
        self.refinenet1, self.refinenet2, self.refinenet3 = (Fusion(features, True, rectified) for _ in range(3))
        self.refinenet4 = Fusion(features, lateral4, rectified)
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = output_layers(features // 2, outputs)
        if sky:
            self.sky_output_conv2 = output_layers(features // 2, 1)

    def adapt(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Each level with the fused maps' number of channels."""
        layers = (self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn)
        return [layer(level) for layer, level in zip(layers, pyramid, strict=True)]


class Fusion(nn.Module):
    """A coarser map, with a lateral one added, refined and enlarged to ``size`` (twice its own if that is None)."""

    def __init__(self, features: int, lateral: bool, rectified: bool) -> None:
        super().__init__()
        if lateral:
            self.resConfUnit1 = ResidualConvUnit(features, rectified)
        self.resConfUnit2 = ResidualConvUnit(features, rectified)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor, lateral: Tensor | None = None, size: torch.Size | None = None) -> Tensor:
        if lateral is not None:
            x = x + self.resConfUnit1(lateral)
        height, width = (2 * x.shape[2], 2 * x.shape[3]) if size is None else size
        y: Tensor = self.out_conv(corner_aligned(self.resConfUnit2(x), (height, width)))
        return y


class ResidualConvUnit(nn.Module):
    """Two 3×3 convolutions, each after a ReLU, added to their input.

    rectified: whether they are added to the rectified input: published code that rectifies in place was trained so.
    """

    def __init__(self, features: int, rectified: bool) -> None:
        super().__init__()
        self.rectified = rectified
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        positive = x.relu()
        y: Tensor = (positive if self.rectified else x) + self.conv2(self.conv1(positive).relu())
        return y


class Projection(nn.Conv2d):
    """Features ``[B, 32, h, w]`` → outputs, computed in the precision of its own weights."""

    def __init__(self, outputs: int) -> None:
        super().__init__(HEAD_CHANNELS, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.to(self.weight.dtype))


def output_layers(channels: int, outputs: int) -> nn.Sequential:
    """To the features and on to the outputs."""
    return nn.Sequential(nn.Conv2d(channels, HEAD_CHANNELS, 3, padding=1), nn.ReLU(), Projection(outputs))


def project(layers: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """Through ``output_layers``: the features before the projection, and the outputs."""
    features: Tensor = layers[:2](x)
    return features, layers[2](features)


def projections(net: nn.Module) -> Iterator[nn.Module]:
    """The last projections of a network with such heads, which are exact, and so is what they answer."""
    return (module for module in net.modules() if isinstance(module, Projection))


def plane_embedding(x: Tensor, aspect: float, precision: torch.dtype) -> Tensor:
    """Sines and cosines of each pixel's place in the image plane for a map ``[B, C, h, w]`` → ``[1, C, h, w]``.

    The plane's half diagonal is 1; the first half of the channels says where in the row, the second where in the column.
    precision: of the angles.
    """
    channels, height, width = x.shape[1:]
    diagonal = (aspect**2 + 1) ** 0.5
    across = _waves(width, aspect / diagonal, channels // 2, precision, x)[:, None, :].expand(-1, height, -1)
    down = _waves(height, 1 / diagonal, channels // 2, precision, x)[:, :, None].expand(-1, -1, width)
    return torch.cat((across, down))[None]


def _waves(count: int, span: float, channels: int, precision: torch.dtype, like: Tensor) -> Tensor:
    """``[channels, count]`` along one side of the plane, given in ``like``'s precision."""
    end = span * (count - 1) / count
    places = torch.linspace(-end, end, count, device=like.device, dtype=torch.float32).to(precision)
    steps = torch.arange(channels // 2, device=like.device, dtype=precision) / (channels / 2)
    angles = POSITION_BASE ** (-steps[:, None]) * places
    return torch.cat((angles.sin(), angles.cos())).to(like.dtype)
