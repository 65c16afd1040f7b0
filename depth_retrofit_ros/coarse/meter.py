"""METER-XXS as a coarse model: 0.71 M parameters, public weights (MIT) trained on NYU Depth v2 or KITTI.

METER does not see the intrinsics, so its metres hold for the camera of its training set and are off by a constant factor on others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.imagenet import DEVIATION, MEAN, Rgb
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.meter_net import MeterXXS
from depth_retrofit_ros.io.checkpoints import load_strict, load_tensors
from depth_retrofit_ros.upsampling.area_average import downsample

NEAREST_M = 1e-3


@dataclass(frozen=True, slots=True)
class Variant:
    """What a checkpoint was trained with. mean, std: of its RGB; unit_m: metres per unit of output."""

    mean: Rgb
    std: Rgb
    unit_m: float


VARIANTS = {
    "nyu": Variant(MEAN, DEVIATION, 0.01),
    "kitti": Variant((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.1),
}


class Meter:
    """``CoarseModel``. Depth and 8-channel features are 48×64 (``nyu``) or 48×160 (``kitti``), whatever the frame's size.

    The frame is stretched to the network's fixed input: its aspect is not preserved, which is how METER was trained.
    The map of ``nyu`` lies over the frame without an offset (tested). That of ``kitti`` has one column more than a quarter of the
    input and is not verified: mirrored frames suggest an offset of up to half a coarse column.
    """

    def __init__(self, net: MeterXXS, variant: str, device: torch.device, claim: ScaleClaim, size: InputSize) -> None:
        self.name = f"meter-{variant}"
        self.device = device
        self.claim = claim
        self.size = size
        self._variant = VARIANTS[variant]
        self.network = net.to(device).eval()
        self._mean = torch.tensor(self._variant.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self._variant.std, device=device).view(1, 3, 1, 1)

    @torch.no_grad()
    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used."""
        planes = (downsample(image, self.size.of(image.shape[0], image.shape[1])) - self._mean) / self._std
        depth, features = self.network(planes)
        return CoarsePrediction((depth[0] * self._variant.unit_m).clamp_min(NEAREST_M), features[0])


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, variant: str) -> Meter:
    """weights: the public checkpoint of ``variant`` (``nyu`` or ``kitti``). Raises WeightsError."""
    net = MeterXXS()
    load_strict(net, load_tensors(weights)[0], weights)
    return Meter(net, variant, device, claim, size)
