"""Depth Pro (arXiv 2410.02073): metric depth of any camera, at 1536 x 1536 px."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.transformers_loading import load_network
from depth_retrofit_ros.coarse.transformers_model import CENTERED, DepthNetwork, NetworkModel

NEAREST_M, FARTHEST_M = 1e-4, 1e4  # the range that its authors give


class DepthProNetwork(DepthNetwork):
    """net: a ``DepthProForDepthEstimation``, whose checkpoint decides whether it estimates the field of view. Answer and features
    have the size of the input."""

    net: Any
    normalization = CENTERED

    def exact(self) -> Iterator[nn.Module]:
        """See ``DepthNetwork``."""
        yield self.net.head.layers[4]

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``DepthNetwork``. answer: canonical inverse depth, see ``DepthPro``; features: the 32 channels before; at last the
        coarsest of the encoder's maps, which a field of view can be estimated from."""
        maps = self.net.depth_pro(planes, return_dict=True).features
        features = self.net.fusion_stage(maps)[-1]
        layers = self.net.head.layers
        for layer in layers[:4]:
            features = layer(features)
        return layers[5](layers[4](features.float()))[:, 0], features, maps[0]


class DepthPro(NetworkModel):
    """``CoarseModel``. The frame is stretched to the square that the network takes.

    Its canonical inverse depth c is that of a camera whose focal length is the width of its image: the inverse depth is c·W / f, of
    the frame's width W and its horizontal focal length f in the same pixels. Stretching leaves W / f = 2·tan(view / 2) as it is,
    whatever it does to the height.
    """

    def __init__(
        self,
        network: DepthProNetwork,
        name: str,
        claim: ScaleClaim,
        device: torch.device,
        size: InputSize,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(network, name, claim, device, size, dtype)
        self._view_of = network.net.fov_model  # the horizontal field of view [deg], None of a checkpoint that does not estimate it

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. Where no camera is known, the network's own estimate of the field of view takes its place."""
        planes = self.planes(image)
        answer, features, coarsest = self.network(planes)
        inverse = answer[0]
        if camera is not None:
            inverse = inverse * (camera.width / camera.fx)
        elif self._view_of is not None:
            view_deg = self._view_of(planes, coarsest.to(planes.dtype)).float()
            inverse = inverse * (2 * (view_deg.deg2rad() / 2).tan())
        return CoarsePrediction(1 / inverse.clamp(1 / FARTHEST_M, 1 / NEAREST_M), features[0])


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str) -> DepthPro:
    """See ``depth_anything.load``."""
    return DepthPro(DepthProNetwork(load_network(weights, name, "DepthProForDepthEstimation")), name, claim, device, size)
