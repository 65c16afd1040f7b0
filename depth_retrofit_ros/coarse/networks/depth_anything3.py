"""Depth Anything 3 (arXiv 2511.10647) for one view: DINOv2 with a DPT head; names as in its public checkpoints.

Two kinds: the any-view networks, whose upper blocks attend in turn within a view and across views, and the monocular ones, with a
second head for the sky. Of an any-view checkpoint the ray head and the camera's encoder and decoder are left out (``LEFT_OUT``):
they serve poses and several views, and depth does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.dinov2 import VIT_BASE, VIT_LARGE, VIT_SMALL, Block, DinoV2, VitSize
from depth_retrofit_ros.coarse.networks.dpt import DenseHead, DptHead, project, projections
from depth_retrofit_ros.coarse.networks.rotary import grid_positions, rotated

NORM_EPS = 1e-5  # of the encoder's last norm, where DINOv2's own has 1e-6
LEFT_OUT = (
    "cam_enc.",
    "cam_dec.",
    *(f"head.scratch.refinenet{level}_aux." for level in (1, 2, 3, 4)),
    "head.scratch.output_conv1_aux.",
    "head.scratch.output_conv2_aux.",
)
"""Beginnings of the names in an any-view checkpoint that the single view's depth has no use for."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """encoder: its size; taken: after which four blocks the head takes tokens; channels, features: see ``DptHead``;
    any_view: from which block on attention alternates between one view and all; None for a monocular network."""

    encoder: VitSize
    taken: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    features: int
    any_view: int | None


SMALL = Architecture(VIT_SMALL, (5, 7, 9, 11), (48, 96, 192, 384), 64, 4)
BASE = Architecture(VIT_BASE, (5, 7, 9, 11), (96, 192, 384, 768), 128, 4)
MONOCULAR_LARGE = Architecture(VIT_LARGE, (4, 11, 17, 23), (256, 512, 1024, 1024), 256, None)


class AnyViewDepth(nn.Module):
    """The network of the any-view models, given one view."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        if architecture.any_view is None:
            raise ValueError("a monocular architecture makes a MonocularDepth")
        self.taken = architecture.taken
        self.backbone = nn.ModuleDict({"pretrained": AnyViewEncoder(architecture.encoder, architecture.any_view)})
        self.head = DenseHead(  # of depth and its confidence
            2 * architecture.encoder.width,
            architecture.channels,
            architecture.features,
            outputs=2,
            normed=True,
            positions=torch.float32,
        )

    def exact(self) -> Iterator[nn.Module]:
        """See ``HasExactParts``."""
        return projections(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image ``[B, 3, H, W]``, normalised, sides multiples of the patch → relative depth ``float32 [B, H, W]``, the 32 features
        before its projection ``[B, 32, H, W]``, and the depth's confidence ``float32 [B, H, W]`` > 1."""
        encoder = self.backbone["pretrained"]
        assert isinstance(encoder, AnyViewEncoder)
        features, logits = self.head(encoder.depth_tokens(image, self.taken), *image.shape[2:])
        return logits[:, 0].exp(), features, 1 + logits[:, 1].exp()


class MonocularDepth(nn.Module):
    """The network of the metric and the monocular models."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        if architecture.any_view is not None:
            raise ValueError("an any-view architecture makes an AnyViewDepth")
        self.taken = architecture.taken
        self.backbone = nn.ModuleDict({"pretrained": Encoder(architecture.encoder)})
        self.head = SkyHead(architecture.encoder.width, architecture.channels, architecture.features)

    def exact(self) -> Iterator[nn.Module]:
        """See ``HasExactParts``."""
        return projections(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image ``[B, 3, H, W]``, normalised, sides multiples of the patch → depth ``float32 [B, H, W]`` (relative, or metres for a
        focal length of 300 px), the 32 features before its projection ``[B, 32, H, W]``, and the sky's score
        ``float32 [B, H, W]`` ≥ 0: none below 0.3."""
        encoder = self.backbone["pretrained"]
        assert isinstance(encoder, Encoder)
        tokens = [patches for patches, _ in encoder.intermediate(image, self.taken)]
        features, logits, sky = self.head(tokens, *image.shape[2:])
        return logits[:, 0].exp(), features, sky[:, 0].relu()


class Encoder(DinoV2):
    """DINOv2 as these checkpoints have it: without the mask token of its training."""

    def __init__(self, size: VitSize) -> None:
        super().__init__(size)
        del self.mask_token
        self.norm = nn.LayerNorm(size.width, eps=NORM_EPS)


class AnyViewEncoder(Encoder):
    """From block ``start`` on, the class token is the camera's, queries and keys are normalised, and positions are rotary: of the
    patch in even blocks, which attend within a view; in odd ones, which attend across views, the same for all patches."""

    def __init__(self, size: VitSize, start: int) -> None:
        super().__init__(size)
        self.start = start
        for index in range(start, size.depth):
            self.blocks[index] = Block(size.width, size.heads, qk_norm=True, rope=rotated)
        self.camera_token = nn.Parameter(torch.zeros(1, 2, size.width))  # of the first view, and of any other

    def depth_tokens(self, image: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """After each of the given blocks, patch tokens ``[B, N, 2 C]``: of the last block within a view, and its own, normed."""
        x = self.embed(image)
        batch, rows, columns = x.shape[0], image.shape[2] // self.patch, image.shape[3] // self.patch
        within = grid_positions(rows, columns, 1, image.device).expand(batch, -1, -1)
        across = within.clamp_max(1)
        local, taken = x, []
        for index, block in enumerate(self.blocks):
            if index == self.start:
                x = torch.cat((self.camera_token[:, :1].expand(batch, -1, -1).to(x.dtype), x[:, 1:]), 1)
            if index < self.start:
                local = x = block(x)
            elif index % 2 == 0:
                local = x = block(x, within)
            else:
                x = block(x, across)
            if index in layers:
                taken.append(torch.cat((local, self.norm(x)), 2)[:, 1:])
        return taken


class SkyHead(DptHead):
    """Depth, and the sky beside it."""

    def __init__(self, width: int, channels: Sequence[int], features: int) -> None:
        super().__init__(width, channels, features, sky=True)

    def forward(self, tokens: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """See ``DenseHead``; features and logits of depth, and logits of the sky ``[B, 1, H, W]``."""
        fused = self.fused(tokens, height, width)
        features, logits = project(self.scratch.output_conv2, fused)
        _, sky = project(self.scratch.sky_output_conv2, fused)
        return features, logits, sky


def build(architecture: Architecture) -> AnyViewDepth | MonocularDepth:
    """The network of that architecture, with weights to be loaded."""
    return MonocularDepth(architecture) if architecture.any_view is None else AnyViewDepth(architecture)


def depth_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of a public checkpoint what ``build`` loads: without the prefix of the official wrapper, and without ``LEFT_OUT``."""
    named = {name.removeprefix("model."): value for name, value in tensors.items()}
    return {name: value for name, value in named.items() if not name.startswith(LEFT_OUT)}
