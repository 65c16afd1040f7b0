"""The baseline of every sparse backend: the same network with dense convolutions, masked after each."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from depth_retrofit_ros.sparse.layers import SparseConvolution
from depth_retrofit_ros.sparse.unet import SparseUNet


class DenseMaskedUNet:
    """A ``SparseUNet`` on whole images, channels last; equal to it at the active pixels."""

    def __init__(self, network: SparseUNet) -> None:
        self._network: Any = network  # its ModuleLists do not tell what they hold
        layers = (layer for layer in network.modules() if isinstance(layer, SparseConvolution))
        self._weights = {layer: layer.weight.detach().contiguous(memory_format=torch.channels_last) for layer in layers}
        self._head = network.head.weight.detach()[:, :, None, None].contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """image: ``[1, in_channels, H, W]``, channels last, zero off the mask; mask: ``[1, 1, H, W]`` of ones and zeros.

        Returns ``[1, out_channels, H, W]``, of meaning at the active pixels.
        """
        masks = [mask]
        for _ in self._network.down:
            masks.append(F.max_pool2d(masks[-1], 2, ceil_mode=True))
        stem = self._network.stem
        x = self._same(stem, image.relu() if stem.relu_input else image).mul_(mask)
        x = self._stage(self._network.encoder[0], x, mask)
        skips = []
        for depth, down in enumerate(self._network.down):
            skips.append(x)
            even = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
            x = F.conv2d(even, self._weights[down], down.bias, stride=2).mul_(masks[depth + 1])
            x = self._stage(self._network.encoder[depth + 1], x, masks[depth + 1])
        for depth in reversed(range(len(skips))):
            up = self._network.up[depth]
            skip = skips.pop()
            x = F.conv_transpose2d(x, self._weights[up], up.bias, stride=2)[..., : skip.shape[2], : skip.shape[3]]
            x = self._stage(self._network.decoder[depth], x.mul_(masks[depth]).add_(skip), masks[depth])
        return F.conv2d(x.relu(), self._head, self._network.head.bias)

    def _same(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self._weights[layer], layer.bias, padding=1)

    def _stage(self, stage: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for block in stage.blocks:
            y = self._same(block.first, x.relu()).mul_(mask)
            x = self._same(block.second, y.relu_()).mul_(mask).add_(x)
        return x
