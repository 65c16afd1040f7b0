"""Depth Anything V1 and V2, small to large (arXiv 2401.10891, 2406.09414): DINOv2 with a DPT head.

The relative models predict disparity up to scale and shift, the metric ones depth: a sigmoid times the largest that they know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.resizing import corner_aligned
from depth_retrofit_ros.coarse.transformers_loading import NEVER_RUN, load_network, require_setting
from depth_retrofit_ros.coarse.transformers_model import DepthNetwork, TransformersModel


class DepthAnythingNetwork(DepthNetwork):
    """net: a ``DepthAnythingForDepthEstimation``. The sides of its input, answer and features are multiples of 14."""

    net: Any

    def exact(self) -> Iterator[nn.Module]:
        """See ``DepthNetwork``."""
        yield self.net.head.conv3

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """See ``DepthNetwork``. answer: disparity ≥ 0 or depth [m]; features: the 32 channels after the head's last ReLU."""
        net, patch = self.net, self.net.config.patch_size
        maps = net.backbone(planes).feature_maps
        fused = net.neck(maps, planes.shape[2] // patch, planes.shape[3] // patch)[net.head.head_in_index]
        features = before_projection(net.head, fused, (planes.shape[2], planes.shape[3]))
        answer = net.head.activation2(net.head.conv3(features.float())) * net.head.max_depth
        return answer[:, 0], features


def before_projection(head: Any, fused: Tensor, size: tuple[int, int]) -> Tensor:
    """The features ``[1, 32, *size]`` of a Depth Anything head, which only a projection and an activation follow."""
    enlarged = corner_aligned(head.conv1(fused), size)
    features: Tensor = head.activation1(head.conv2(enlarged))
    return features


def load(
    weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str, max_depth: float | None = None
) -> TransformersModel:
    """weights: the tensors' file, with its ``config.json`` beside it; claim: what the model of this name must be; max_depth: the
    largest depth [m] of the metric model of this name.

    Raises ModelError without ``transformers``, WeightsError for a checkpoint that is incomplete, corrupt, or of another network.
    """
    net = load_network(weights, name, "DepthAnythingForDepthEstimation", optional=(NEVER_RUN,))
    require_setting(net, "depth_estimation_type", "relative" if claim.inverse else "metric", weights, name)
    if max_depth is not None:
        require_setting(net, "max_depth", max_depth, weights, name)
    return TransformersModel(DepthAnythingNetwork(net), name, claim, device, size)
