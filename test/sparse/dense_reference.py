"""The same operations as masked dense convolutions: zero outside the active pixels, output read at the active pixels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.unet import SparseUNet

MASKS = ("random", "borders", "band", "empty", "one", "all")
SIZES = ((12, 16), (13, 9), (1, 7), (5, 1))


def make_mask(kind: str, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """bool [H, W] of one kind of active set."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "random":
        return torch.rand(size, generator=generator) < 0.3
    mask = torch.zeros(size, dtype=torch.bool)
    if kind == "borders":
        mask[[0, -1]] = True
        mask[:, [0, -1]] = True
    elif kind == "band":
        y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
        mask = (y - x).abs() < 2
    elif kind == "one":
        mask[size[0] // 2, -1] = True
    elif kind == "all":
        mask[:] = True
    return mask


def to_dense(features: torch.Tensor, pixels: PixelSet) -> torch.Tensor:
    """``[K, C]`` to ``[1, C, H, W]``, zero where inactive."""
    flat = features.new_zeros(pixels.size[0] * pixels.size[1], features.shape[1])
    return flat.index_copy(0, pixels.indices, features).T.reshape(1, -1, *pixels.size)


def to_sparse(dense: torch.Tensor, pixels: PixelSet) -> torch.Tensor:
    """``[1, C, H, W]`` to ``[K, C]``."""
    return dense[0].flatten(1).T[pixels.indices]


def halve(mask: torch.Tensor) -> torch.Tensor:
    """The bool mask of 2x2 cells with any active pixel; an odd last row or column is a cell of its own."""
    return F.max_pool2d(mask[None, None].float(), 2, ceil_mode=True)[0, 0] > 0


def dense_down(dense: torch.Tensor, weight: Any, bias: Any) -> torch.Tensor:
    """2x2 convolution of stride 2, with a zero row and column added to odd sizes."""
    height, width = dense.shape[2:]
    return F.conv2d(F.pad(dense, (0, width % 2, 0, height % 2)), weight, bias, stride=2)


def dense_up(dense: torch.Tensor, weight: Any, bias: Any, size: tuple[int, int]) -> torch.Tensor:
    """Its transpose, cropped to ``size``."""
    return F.conv_transpose2d(dense, weight, bias, stride=2)[..., : size[0], : size[1]]


def dense_unet(net: SparseUNet, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``SparseUNet`` with dense convolutions of the same weights, masked after each. image: ``[1, C, H, W]``; mask: ``[H, W]``."""
    masks = [mask]
    for _ in net.down:
        masks.append(halve(masks[-1]))

    def stage(blocks: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for block in blocks.blocks:
            y = F.conv2d(x.relu(), block.first.weight, block.first.bias, padding=1) * mask
            x = x + F.conv2d(y.relu(), block.second.weight, block.second.bias, padding=1) * mask
        return x

    x = F.conv2d(image * mask, net.stem.weight, net.stem.bias, padding=1) * mask
    x = stage(net.encoder[0], x, mask)
    skips = []
    for depth, down in enumerate(net.down):
        skips.append(x)
        x = dense_down(x, down.weight, down.bias) * masks[depth + 1]
        x = stage(net.encoder[depth + 1], x, masks[depth + 1])
    for depth in reversed(range(len(net.down))):
        size = (masks[depth].shape[0], masks[depth].shape[1])
        x = dense_up(x, net.up[depth].weight, net.up[depth].bias, size) * masks[depth] + skips[depth]
        x = stage(net.decoder[depth], x, masks[depth])
    return F.conv2d(x.relu(), net.head.weight[:, :, None, None], net.head.bias)
