"""GLPN (arXiv 2201.07436): a hierarchical transformer with a light decoder, of depth in the cameras of its training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.transformers_loading import load_network, require_setting
from depth_retrofit_ros.coarse.transformers_model import AS_IT_IS, DepthNetwork, TransformersModel


class GlpnNetwork(DepthNetwork):
    """net: a ``GLPNForDepthEstimation``. Answer and features have the size of the input, whose sides are multiples of 32."""

    net: Any
    normalization = AS_IT_IS

    def exact(self) -> Iterator[nn.Module]:
        """See ``DepthNetwork``."""
        yield self.net.head.head[2]

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """See ``DepthNetwork``. answer: depth [m]; features: the channels after the head's ReLU."""
        net = self.net
        maps = net.glpn(planes, output_hidden_states=True).hidden_states
        features = net.head.head[:2](net.decoder(maps)[net.config.head_in_index])
        answer = net.head.head[2](features.float()).sigmoid() * net.config.max_depth
        return answer[:, 0], features


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str, max_depth: float) -> TransformersModel:
    """See ``depth_anything.load``."""
    net = load_network(weights, name, "GLPNForDepthEstimation")
    require_setting(net, "max_depth", max_depth, weights, name)
    return TransformersModel(GlpnNetwork(net), name, claim, device, size)
