"""``compact``: the bundled metric model, small enough for two CPU cores."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.compact_net import CANONICAL_F_PX, CompactDepth, CompactNet
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.io.checkpoints import bundled, load_strict, load_tensors
from depth_retrofit_ros.upsampling.area_average import downsample


class Compact:
    """Metric depth, where ``claim`` says so, given the focal length; without a camera it is right up to the factor f / 256 px."""

    name = "compact"

    def __init__(self, net: CompactNet, device: torch.device, claim: ScaleClaim, size: InputSize) -> None:
        network = CompactDepth(net.eval()).eval().to(device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device
        self.claim = claim
        self.size = size

    @torch.inference_mode()
    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        size = self.size.of(image.shape[0], image.shape[1])
        log_depth, logits = self.network(downsample(image, size).contiguous(memory_format=torch.channels_last))
        depth = log_depth[0].exp()
        if camera is not None:
            depth = depth * (camera.fx * size[1] / camera.width / CANONICAL_F_PX)
        return CoarsePrediction(depth, logits[0])


def load(weights: Path | None, device: torch.device, claim: ScaleClaim, size: InputSize) -> Compact:
    """From the bundled checkpoint or another one of the same network. Raises WeightsError in one line."""
    path = weights or bundled("compact.safetensors")
    network = CompactNet()
    load_strict(network, load_tensors(path)[0], path)
    return Compact(network, device, claim, size)
