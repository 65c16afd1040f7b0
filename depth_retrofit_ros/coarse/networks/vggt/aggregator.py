"""VGGT's trunk: DINOv2's patch tokens of each view, then attention within each view and across all of them in turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.imagenet import DEVIATION, MEAN, Rgb
from depth_retrofit_ros.coarse.networks.dinov2 import Block, DinoV2, VitSize
from depth_retrofit_ros.coarse.networks.rotary import grid_positions, rotated

REGISTERS = 4
EXTRA_TOKENS = 1 + REGISTERS  # the camera's, then the registers, before a view's patches
EPS = 1e-5  # of all layer norms but the encoder's


class Aggregator(nn.Module):
    """encoder: of the patches; layers: number of pairs of attention within and across; pretrained_size: see ``DinoV2``; trunk: the
    encoder's class.

    The first view has camera and register tokens of its own, for it is the world that the others are placed in.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(self, encoder: VitSize, layers: int, heads: int, pretrained_size: int, trunk: type[DinoV2] = DinoV2) -> None:
        super().__init__()
        width = encoder.width
        self.patch_embed = trunk(encoder, REGISTERS, pretrained_size, antialias=True, offset=0.0)
        self.frame_blocks = nn.ModuleList([Block(width, heads, True, rotated, eps=EPS) for _ in range(layers)])
        self.global_blocks = nn.ModuleList([Block(width, heads, True, rotated, eps=EPS) for _ in range(layers)])
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, width))
        self.register_token = nn.Parameter(torch.zeros(1, 2, REGISTERS, width))
        self.register_buffer("_mean", _constant(MEAN), persistent=False)
        self.register_buffer("_std", _constant(DEVIATION), persistent=False)

    def forward(self, images: Tensor, taken: Sequence[int]) -> list[Tensor]:
        """images ``[S, 3, H, W]`` in 0…1, sides multiples of the patch; taken: layers, ascending.

        Returns for each of them ``[S, EXTRA_TOKENS + N, 2C]``: what the attention within the view gave, and that across all.
        """
        patch = self.patch_embed.patch
        patches = self.patch_embed(self.normalized(images))
        within = grid_positions(images.shape[2] // patch, images.shape[3] // patch, EXTRA_TOKENS, images.device)
        return self.attended(patches, within, torch.arange(len(images), device=images.device) == 0, taken)

    def normalized(self, images: Tensor) -> Tensor:
        """RGB ``[S, 3, H, W]`` in 0…1, as the encoder takes it."""
        return (images - self._mean) / self._std

    def attended(self, patches: Tensor, positions: Tensor, first: Tensor, taken: Sequence[int]) -> list[Tensor]:
        """patches ``[S, N, C]``; positions ``[1 or S, EXTRA_TOKENS + N, 2]`` (row, column) of all tokens, in patches; first
        ``bool [S]``: which view has the first one's tokens. Returns what ``forward`` does."""
        views, kind = len(patches), (~first).long()
        x = torch.cat((self.camera_token[0, kind], self.register_token[0, kind], patches), 1)
        across = positions.expand(views, -1, -1).reshape(1, -1, 2)
        outputs = []
        for layer, (frame_block, global_block) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            local = frame_block(x, positions)
            x = global_block(local.reshape(1, -1, local.shape[-1]), across).view(views, *local.shape[1:])
            if layer in taken:
                outputs.append(torch.cat((local, x), -1))
        return outputs

    def restore_constants(self) -> None:
        """After the module was made on the meta device: what no checkpoint holds."""
        self._mean, self._std = _constant(MEAN), _constant(DEVIATION)


def _constant(values: Rgb) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
