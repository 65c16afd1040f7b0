"""``compact``: the bundled metric model, small enough for two CPU cores."""

from __future__ import annotations

from collections.abc import Sequence
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
        return self.predict_batch([image], [camera])[0]

    @torch.inference_mode()
    def predict_batch(self, images: Sequence[torch.Tensor], cameras: Sequence[Camera | None]) -> list[CoarsePrediction]:
        """See ``BatchModel.predict_batch``."""
        size = self.size.of(images[0].shape[0], images[0].shape[1])
        planes = [downsample(image, size) for image in images]
        batch = planes[0] if len(planes) == 1 else torch.cat(planes)
        log_depth, logits = self.network(batch.contiguous(memory_format=torch.channels_last))
        depths = [of_frame.exp() for of_frame in log_depth]
        for frame, camera in enumerate(cameras):
            if camera is not None:
                depths[frame] = depths[frame] * (camera.fx * size[1] / camera.width / CANONICAL_F_PX)
        return [CoarsePrediction(depth, features) for depth, features in zip(depths, logits, strict=True)]


def load(weights: Path | None, device: torch.device, claim: ScaleClaim, size: InputSize) -> Compact:
    """From the bundled checkpoint or another one of the same network. Raises WeightsError in one line."""
    path = weights or bundled("compact.safetensors")
    network = CompactNet()
    load_strict(network, load_tensors(path)[0], path)
    return Compact(network, device, claim, size)
