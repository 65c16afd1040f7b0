"""DPT (arXiv 2103.13413) as MiDaS published it, large and hybrid, and on DINOv2 (arXiv 2304.07193).

MiDaS predicts disparity up to scale and shift, the heads on DINOv2 depth in the cameras of their training. The library's own class
takes MiDaS' images square; the network does not need that, and here the frame keeps its aspect.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.transformers_loading import NEVER_RUN, load_network, require_if_stated, require_setting
from depth_retrofit_ros.coarse.transformers_model import CENTERED, DepthNetwork, TransformersModel


class DptNetwork(DepthNetwork):
    """net: a ``DPTForDepthEstimation`` on a backbone, whose answer is 16/14 of its input for patches of 14 px.

    The sides of the input are multiples of two patches: the coarsest of the four grids is half that of the patches, and the grids
    lie on each other only where it is exactly half.
    """

    net: Any

    def exact(self) -> Iterator[nn.Module]:
        """See ``DepthNetwork``."""
        yield self.net.head.head[4]

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """See ``DepthNetwork``. answer: disparity ≥ 0 or depth [m]; features: the 32 channels after the head's last ReLU."""
        net, head = self.net, self.net.head
        patch = self.patch_size
        fused = net.neck(self.feature_maps(planes), planes.shape[2] // patch, planes.shape[3] // patch)[net.config.head_in_index]
        if head.projection is not None:
            fused = head.projection(fused).relu()
        features = head.head[:4](fused)
        answer = head.head[5](head.head[4](features.float()))
        return answer[:, 0], features

    @property
    def patch_size(self) -> int:
        """[px]"""
        size: int = self.net.config.backbone_config.patch_size
        return size

    def feature_maps(self, planes: Tensor) -> list[Tensor]:
        """What the neck takes, the finest first."""
        return list(self.net.backbone(planes).feature_maps)


class MidasNetwork(DptNetwork):
    """net: one with its own ViT, which in the hybrid looks at the features of a BiT ResNet.

    Answer and features have the size of the input, whose sides are multiples of 32.
    """

    normalization = CENTERED

    @property
    def patch_size(self) -> int:
        """[px]"""
        size: int = self.net.config.patch_size
        return size

    def feature_maps(self, planes: Tensor) -> list[Tensor]:
        """See ``DptNetwork``; of the hybrid, the finest two are the ResNet's."""
        vit, wanted = self.net.dpt, self.net.config.backbone_out_indices
        if self.net.config.is_hybrid:
            embedded = vit.embeddings(planes, interpolate_pos_encoding=True)
            maps, wanted = list(embedded.intermediate_activations), wanted[2:]
        else:
            embedded, maps = vit.embeddings(planes), []
        tokens = embedded.last_hidden_states
        for index, layer in enumerate(vit.encoder.layer):
            tokens = layer(tokens)
            if index in wanted:
                maps.append(tokens)
        return maps


def load_midas(
    weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str, hybrid: bool
) -> TransformersModel:
    """See ``depth_anything.load``."""
    net = load_network(weights, name, "DPTForDepthEstimation", optional=(NEVER_RUN,))
    require_setting(net, "is_hybrid", hybrid, weights, name)
    return TransformersModel(MidasNetwork(net), name, claim, device, size)


def load_dinov2(
    weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str, max_depth: float
) -> TransformersModel:
    """See ``depth_anything.load``. max_depth: of the training's data [m], which only some configurations state."""
    net = load_network(weights, name, "DPTForDepthEstimation", optional=(NEVER_RUN,))
    require_setting(net, "is_hybrid", False, weights, name)
    require_setting(net, "add_projection", True, weights, name)
    require_if_stated(net, "max_depth", max_depth, weights, name)
    return TransformersModel(DptNetwork(net), name, claim, device, size)
