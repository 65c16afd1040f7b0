"""MoGe-2 (arXiv 2507.02546): one image to an affine point map, normals, a mask of what is finite, and metres; names as in its
public checkpoints.

A DINOv2 encoder, a convolutional neck and three convolutional heads of the same shape over five levels, the last of 16 cells a
patch's side, and a perceptron for the scale. The released checkpoints carry their configuration; ``config_of`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Tensors
from depth_retrofit_ros.coarse.imagenet import DEVIATION, MEAN
from depth_retrofit_ros.coarse.networks.dinov2 import VIT_BASE, VIT_LARGE, VIT_SMALL, DinoV2, VitSize
from depth_retrofit_ros.coarse.networks.view_plane import view_plane

ENCODERS: Mapping[str, VitSize] = {"dinov2_vits14": VIT_SMALL, "dinov2_vitb14": VIT_BASE, "dinov2_vitl14": VIT_LARGE}
LEVELS = 5
CELLS = 2 ** (LEVELS - 1)  # cells of the finest level along a patch's side
HEADS = {"points_head": 3, "normal_head": 3, "mask_head": 1}  # channels that each puts out
RESAMPLERS = ("conv_transpose",) * (LEVELS - 2) + ("bilinear",)


@dataclass(frozen=True, slots=True)
class MoGeConfig:
    """Sizes of one variant.

    encoder: of DINOv2; taps: its blocks (from 0) whose outputs are summed; widths: channels of the neck and the heads at each
    level, coarsest first; neck_blocks, head_blocks: residual blocks at each level; scale_widths: of the perceptron, from the
    encoder's width to 1.
    """

    encoder: VitSize
    taps: tuple[int, ...]
    widths: tuple[int, ...]
    neck_blocks: tuple[int, ...]
    head_blocks: tuple[int, ...]
    scale_widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MoGeMaps:
    """What the network says of one image, before exponentials; maps are ``float32 [·, h, w]``, 16 cells a patch's side.

    points ``[3, h, w]``: x/z, y/z and ln z of each point, up to a shift of z; normals ``[3, h, w]``: not of unit length; mask
    ``[h, w]``: logit of being finite; log_scale ``[]``: ln of metres a unit; features ``[C, h, w]``: those that the points are
    projected from, in the network's own type.
    """

    points: Tensor
    normals: Tensor
    mask: Tensor
    log_scale: Tensor
    features: Tensor

    @classmethod
    def of(cls, answer: Tensors) -> MoGeMaps:
        """Of what ``MoGe.forward`` gives."""
        _, features, points, normals, mask, log_scale = (tensor[0] for tensor in answer)
        return cls(points, normals, mask, log_scale, features)


class MoGe(nn.Module):
    """The network, for one image at a time; ``MoGeMaps.of`` names what it answers."""

    def __init__(self, config: MoGeConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config.encoder, config.taps, config.widths[0])
        self.neck = ConvStack((config.widths[0] + 2, *(2,) * (LEVELS - 1)), config.widths, config.neck_blocks)
        self.points_head, self.normal_head, self.mask_head = (
            ConvStack(config.widths, config.widths, config.head_blocks, channels) for channels in HEADS.values()
        )
        self.scale_head = perceptron(config.scale_widths)

    def exact(self) -> Iterator[nn.Module]:
        """What gives logarithms, of z and of the scale: a step of float16 is 0.1 % of either."""
        for head in (self.points_head, self.normal_head, self.mask_head):
            yield head.output_blocks
        yield self.scale_head

    def forward(self, image: Tensor, aspect: Tensor) -> Tensors:
        """image: ``[1, 3, H, W]`` RGB in 0…1, sides multiples of 14; aspect: ``float32 [1]``, width over height of its frame.

        Gives ln z ``[1, h, w]``, features, points, normals, mask and scale, see ``MoGeMaps``, each as a batch of one.
        """
        tokens, class_token = self.encoder(image)
        rows, columns = tokens.shape[-2:]
        levels = [view_plane(rows << level, columns << level, aspect, image.device)[None].to(tokens) for level in range(LEVELS)]
        levels[0] = torch.cat((tokens, levels[0]), 1)
        levels = self.neck(levels)
        features = self.points_head(levels)[-1]
        points = self.points_head.project(features)
        normals = self.normal_head.project(self.normal_head(levels)[-1])
        mask = self.mask_head.project(self.mask_head(levels)[-1])
        log_scale = self.scale_head(class_token.to(self.scale_head[0].weight.dtype))
        return points[:, 2], features, points, normals, mask[:, 0], log_scale[:, 0]


class Encoder(nn.Module):
    """image ``[1, 3, H, W]`` in 0…1 → the sum of some blocks' projected tokens ``[1, C, H/14, W/14]``, and the last class token."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, size: VitSize, taps: Sequence[int], width: int) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.backbone = DinoV2(size)
        self.output_projections = nn.ModuleList([nn.Conv2d(size.width, width, 1) for _ in taps])
        self.register_buffer("image_mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(DEVIATION).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        grid = (image.shape[2] // self.backbone.patch, image.shape[3] // self.backbone.patch)
        taken = self.backbone.intermediate((image - self.image_mean) / self.image_std, self.taps)
        projected = [
            project(tokens.transpose(1, 2).unflatten(2, grid))
            for project, (tokens, _) in zip(self.output_projections, taken, strict=True)
        ]
        return torch.stack(projected).sum(0), taken[-1][1]


class ConvStack(nn.Module):
    """From coarse to fine: at each level the input is added, residual blocks follow, then the step to twice the size.

    inputs: channels that come in at each level; widths, blocks: of the levels; channels: of ``project``, for a head.
    """

    def __init__(self, inputs: Sequence[int], widths: Sequence[int], blocks: Sequence[int], channels: int | None = None) -> None:
        super().__init__()
        self.input_blocks = nn.ModuleList([nn.Conv2d(a, b, 1) for a, b in zip(inputs, widths, strict=True)])
        self.resamplers = nn.ModuleList(
            [resampler(kind, a, b) for kind, a, b in zip(RESAMPLERS, widths[:-1], widths[1:], strict=True)]
        )
        self.res_blocks = nn.ModuleList(
            [nn.Sequential(*(ResidualBlock(width) for _ in range(count))) for width, count in zip(widths, blocks, strict=True)]
        )
        self.output_blocks = nn.ModuleList([nn.Identity() for _ in widths])
        if channels is not None:
            self.output_blocks[-1] = nn.Conv2d(widths[-1], channels, 1)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """``[1, inputs[i], h·2^i, w·2^i]`` → features of each level, ``[1, widths[i], h·2^i, w·2^i]``."""
        x = self.res_blocks[0](self.input_blocks[0](levels[0]))
        features = [x]
        for level, resample, block, take in zip(
            levels[1:], self.resamplers, self.res_blocks[1:], self.input_blocks[1:], strict=True
        ):
            x = block(resample(x) + take(level))
            features.append(x)
        return features

    def project(self, features: Tensor) -> Tensor:
        """A head's last projection of its finest features, in that projection's own type, as float32."""
        projection = self.output_blocks[-1]
        out: Tensor = projection(features.to(next(projection.parameters()).dtype)).float()
        return out


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(relu(x))))``; the released variants have no norms, whose places the names still count."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Identity(), nn.ReLU(), conv3x3(width, width), nn.Identity(), nn.ReLU(), conv3x3(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layers(x)
        return y


def resampler(kind: str, width: int, out: int) -> nn.Sequential:
    """Twice the size, learned (``conv_transpose``) or ``bilinear``, then a convolution."""
    if kind == "conv_transpose":
        return nn.Sequential(nn.ConvTranspose2d(width, out, 2, 2), conv3x3(out, out))
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv3x3(width, out))


def conv3x3(width: int, out: int) -> nn.Conv2d:
    """Continues the border's values outwards."""
    return nn.Conv2d(width, out, 3, padding=1, padding_mode="replicate")


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def config_of(published: Mapping[str, Any]) -> MoGeConfig:
    """From a checkpoint's ``model_config``. Raises ValueError, in words, for what is no MoGe-2 as released with normals."""
    stacks = {name: published.get(name) for name in ("neck", *HEADS)}
    encoder, scale = published.get("encoder"), published.get("scale_head")
    absent = [name for name, part in {"encoder": encoder, "scale_head": scale, **stacks}.items() if not isinstance(part, Mapping)]
    if absent:
        raise ValueError(f"it has no {absent[0]}")
    assert isinstance(encoder, Mapping) and isinstance(scale, Mapping)
    if encoder.get("backbone") not in ENCODERS:
        raise ValueError(f"its encoder is {encoder.get('backbone')}, not one of {', '.join(ENCODERS)}")
    if published.get("remap_output") != "exp":
        raise ValueError(f"its points are mapped by {published.get('remap_output')}, not by exp")
    for name, stack in stacks.items():
        _require_plain(name, stack, HEADS.get(name))
    neck, head = stacks["neck"], stacks["points_head"]
    assert neck is not None and head is not None
    config = MoGeConfig(
        encoder=ENCODERS[encoder["backbone"]],
        taps=tuple(encoder["intermediate_layers"]),
        widths=tuple(neck["dim_res_blocks"]),
        neck_blocks=tuple(neck["num_res_blocks"]),
        head_blocks=tuple(head["num_res_blocks"]),
        scale_widths=tuple(scale["dims"]),
    )
    heads = [stacks[name] or {} for name in HEADS]
    if any(tuple(h["dim_res_blocks"]) != config.widths or tuple(h["num_res_blocks"]) != config.head_blocks for h in heads):
        raise ValueError("its heads are not of one shape")
    return config


def _require_plain(name: str, stack: Mapping[str, Any] | None, channels: int | None) -> None:
    """Raises ValueError for a stack with norms, other activations or steps than the released ones."""
    assert stack is not None
    norms = (stack.get("res_block_in_norm"), stack.get("res_block_hidden_norm"))
    plain = (
        norms == ("none", "none") and stack.get("activation", "relu") == "relu" and stack.get("dim_times_res_block_hidden", 1) == 1
    )
    outputs = None if channels is None else [*(None,) * (LEVELS - 1), channels]
    if not plain or tuple(stack.get("resamplers", ())) != RESAMPLERS or stack.get("dim_out") != outputs:
        raise ValueError(f"its {name} is not built as in the released models")
    if any(len(stack.get(key, ())) != LEVELS for key in ("dim_res_blocks", "num_res_blocks")):
        raise ValueError(f"its {name} has not {LEVELS} levels")
