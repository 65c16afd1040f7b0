"""Metric3D v2 (arXiv 2404.15506) as a coarse model: metric depth of any camera whose focal length is known, and normals.

The weights are read from the published ``metric_depth_vit_*_800k.pth``; nothing in it is executed.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.holes import filled
from depth_retrofit_ros.coarse.imagenet import NormalizedInput, usual_precision
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.metric3d import CANONICAL_F_PX, LARGE, NEAREST_M, SMALL, Metric3D, published_name
from depth_retrofit_ros.coarse.networks.view_plane import turned_to_camera, view_plane
from depth_retrofit_ros.io.checkpoints import load_nested, load_strict

QUARTER = 4  # px of the input to a cell of the features, with which the fitted frame is aligned
CONFIGS = {"small": SMALL, "large": LARGE}


class Metric3DV2:
    """``CoarseModel``. The frame is fitted into the input, whose rest has the mean colour; depth and normals are the fitted part.

    net: the network; size: of its input, with sides that are multiples of 28; dtype: None for float16 on CUDA and float32
    elsewhere. Depth and normals are float32.
    """

    def __init__(
        self,
        net: Metric3D,
        name: str,
        claim: ScaleClaim,
        device: torch.device,
        size: InputSize,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name, self.claim, self.device, self.size = name, claim, device, size
        self._normalized = NormalizedInput(device, dtype or usual_precision(device))
        self.network = in_precision(net.to(device), self._normalized.dtype).eval()

    def fitted(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Where a frame of this size lies in the input: its first row and column, its height and width [px]."""
        rows, columns = self.size.of(height, width)
        scale = min(rows / height, columns / width)
        fitted_h, fitted_w = (int(side * scale) // QUARTER * QUARTER for side in (height, width))
        top, left = ((free // 2) // QUARTER * QUARTER for free in (rows - fitted_h, columns - fitted_w))
        return top, left, fitted_h, fitted_w

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. features: the logarithm of the network's own distribution over depth."""
        height, width = image.shape[:2]
        rows, columns = self.size.of(height, width)
        top, left, fitted_h, fitted_w = self.fitted(height, width)
        planes = self._normalized(image, (fitted_h, fitted_w))
        depth, bins, normals = self.network(F.pad(planes, (left, columns - fitted_w - left, top, rows - fitted_h - top)))

        depth, normals = (maps[0, ..., top : top + fitted_h, left : left + fitted_w] for maps in (depth, normals))
        unknown = depth <= NEAREST_M  # where the network's answer is no distance before the camera, it ends here
        depth = filled(depth, unknown)
        top, left = top // QUARTER, left // QUARTER
        bins = bins[0, :, top : top + fitted_h // QUARTER, left : left + fitted_w // QUARTER]
        if camera is not None:
            depth = depth * (camera.fx * fitted_w / width / CANONICAL_F_PX)
            rays = view_plane(fitted_h, fitted_w, width / height, self.device) * (math.hypot(width, height) / 2 / camera.fx)
            normals = turned_to_camera(normals, torch.cat((rays, torch.ones_like(rays[:1]))))
        return CoarsePrediction(depth.contiguous(), bins.contiguous(), normals=normals.contiguous(), unknown=unknown)


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str, variant: str) -> Metric3DV2:
    """weights: the published file of ``variant``, a name of ``CONFIGS``. Raises WeightsError in one line."""
    net = Metric3D(CONFIGS[variant])
    names = {published_name(ours): ours for ours in net.state_dict()}
    tensors = {names.get(name, name): value for name, value in load_nested(weights, "model_state_dict", "depth_model.").items()}
    tensors.setdefault("encoder.mask_token", torch.zeros_like(net.encoder.mask_token))  # of its training alone
    load_strict(net, tensors, weights)
    return Metric3DV2(net, name, claim, device, size)
