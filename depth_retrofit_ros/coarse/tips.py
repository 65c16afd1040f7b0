"""TIPSv2 with its DPT head for depth: a distribution over 256 depths, evenly spaced up to 10 m."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.transformers_loading import load_network
from depth_retrofit_ros.coarse.transformers_model import AS_IT_IS, LEAST_SHARE, DepthNetwork, TransformersModel


class TipsNetwork(DepthNetwork):
    """net: a ``Tipsv2DptForDepthEstimation``. Answer and features are 8/14 of the input.

    The sides of the input are multiples of 28, two patches: the coarsest of the four grids is half that of the patches, and the
    grids lie on each other only where it is exactly half.
    """

    net: Any
    normalization = AS_IT_IS

    def exact(self) -> Iterator[nn.Module]:
        """See ``DepthNetwork``."""
        yield self.net.decoder.head
        yield self.net.bin_regressor

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """See ``DepthNetwork``. answer: the mean depth [m]; features: the logarithm of the distribution."""
        net, decoder = self.net, self.net.decoder
        patch = net.config.backbone_config.patch_size
        fused = net.neck(net.backbone(planes).feature_maps, planes.shape[2] // patch, planes.shape[3] // patch)[-1]
        hidden = decoder.activation(decoder.project(fused)).permute(0, 2, 3, 1)
        weights = net.bin_regressor.activation(decoder.head(hidden.float())) + net.bin_regressor.min_depth  # [1, h, w, bins]
        shares = weights / weights.sum(-1, keepdim=True)
        return shares @ net.bin_regressor.bin_centers, shares.clamp_min(LEAST_SHARE).log().permute(0, 3, 1, 2)


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str) -> TransformersModel:
    """See ``depth_anything.load``."""
    return TransformersModel(TipsNetwork(load_network(weights, name, "Tipsv2DptForDepthEstimation")), name, claim, device, size)
