"""Prompt Depth Anything (arXiv 2412.14015): Depth Anything V2 that a sensor's depth prompts, and answers in the sensor's metres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim, is_prompt
from depth_retrofit_ros.coarse.dense_prompt import dense_prompt
from depth_retrofit_ros.coarse.depth_anything import before_projection
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.transformers_loading import NEVER_RUN, load_network, require_setting
from depth_retrofit_ros.coarse.transformers_model import NEAREST_M, DepthNetwork, NetworkModel
from depth_retrofit_ros.device.cuda_streams import Upload


class PromptNetwork(DepthNetwork):
    """net: a ``PromptDepthAnythingForDepthEstimation``. The sides of its input, answer and features are multiples of 14."""

    net: Any

    def exact(self) -> Iterator[nn.Module]:
        """See ``DepthNetwork``."""
        yield self.net.head.conv3

    def forward(self, planes: Tensor, prompt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``DepthNetwork``. prompt: ``[1, 1, h, w]`` in 0…1; answer: depth in 0…1 on the prompt's scale, or, without one, on
        none that is known; features: the 32 channels after the head's last ReLU."""
        net, patch = self.net, self.net.config.patch_size
        maps = net.backbone(planes).feature_maps
        fused = net.neck(maps, planes.shape[2] // patch, planes.shape[3] // patch, prompt_depth=prompt)[-1]
        features = before_projection(net.head, fused, (planes.shape[2], planes.shape[3]))
        return net.head.activation2(net.head.conv3(features.float()))[:, 0], features


class PromptDepthAnything(NetworkModel):
    """``CoarseModel``. Depth is in metres in a frame that ``claim.is_prompt``, else relative."""

    def __init__(
        self,
        network: PromptNetwork,
        name: str,
        claim: ScaleClaim,
        device: torch.device,
        size: InputSize,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(network, name, claim, device, size, dtype)
        self._upload = Upload(device)

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used."""
        planes = self.planes(image)
        if not is_prompt(hints.sparse):
            answer, features = self.network(planes)
            return CoarsePrediction(answer[0].clamp_min(NEAREST_M), features[0])
        prompt = dense_prompt(hints.sparse, image.shape[0], image.shape[1])
        answer, features = self.network(planes, self._upload(prompt.depth)[None, None].to(self.dtype))
        return CoarsePrediction((answer[0] * (prompt.far - prompt.near) + prompt.near).clamp_min(NEAREST_M), features[0])


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str) -> PromptDepthAnything:
    """See ``depth_anything.load``."""
    net = load_network(weights, name, "PromptDepthAnythingForDepthEstimation", optional=(NEVER_RUN,))
    require_setting(net, "depth_estimation_type", "metric", weights, name)
    return PromptDepthAnything(PromptNetwork(net), name, claim, device, size)
