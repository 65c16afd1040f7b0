"""Depth Anything 3 as a coarse model (arXiv 2511.10647): small and base, and the two large monocular ones, each given one view.

All predict depth, not disparity. The metric one answers in meters of a camera whose focal length is ``CANONICAL_F_PX`` at the
network's input; the others' scale is unknown. The monocular ones say where the sky is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.imagenet import NormalizedInput, usual_precision
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks import depth_anything3 as networks
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import load_strict, load_tensors

CANONICAL_F_PX = 300.0
SKY = 0.3  # score from which on a cell is sky
FAR_SHARE, FAR_SAMPLES = 0.99, 100_000  # sky is put as far as that share of the other cells, of so many at most
LEAST, MOST = 1e-4, 1e6  # of the network's own depth, which is exponential: finite whatever the weights

PUBLISHED: Mapping[str, tuple[str, networks.Architecture]] = {
    "depth-anything-3-small": ("da3-small", networks.SMALL),
    "depth-anything-3-base": ("da3-base", networks.BASE),
    "depth-anything-3-metric-large": ("da3metric-large", networks.MONOCULAR_LARGE),
    "depth-anything-3-mono-large": ("da3mono-large", networks.MONOCULAR_LARGE),
}
"""Our name → the authors' name, as in their ``config.json``, and the architecture."""


class DepthAnything3:
    """``CoarseModel``. Metric, where ``claim`` says so, given a camera; without one, up to scale.

    size: of the network's input; dtype: None for float16 on CUDA and float32 elsewhere. Depth is float32 in any case: the last
    projections run in float32 on the features, which stay in ``dtype``.
    """

    def __init__(
        self,
        net: networks.AnyViewDepth | networks.MonocularDepth,
        name: str,
        claim: ScaleClaim,
        device: torch.device,
        size: InputSize,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name, self.claim, self.device, self.size = name, claim, device, size
        self._input = NormalizedInput(device, dtype or usual_precision(device))
        self.network = in_precision(net.to(device), self._input.dtype).eval()
        self.knows_sky = isinstance(net, networks.MonocularDepth)

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. features: the 32 channels before the depth's last projection."""
        depth, features, beside = self.network(self._input(image, self.size.of(image.shape[0], image.shape[1])))
        depth, sky = depth[0].clamp(LEAST, MOST), None
        if self.knows_sky:
            sky = beside[0] >= SKY
            depth = put_far(depth, sky)
        if self.claim.kind == "metric" and camera is not None:
            seen = camera.resized(depth.shape[1], depth.shape[0])
            depth = depth * ((seen.fx + seen.fy) / 2 / CANONICAL_F_PX)
        return CoarsePrediction(depth, features[0], sky)


def put_far(depth: Tensor, sky: Tensor) -> Tensor:
    """``[h, w]`` with the sky as far as the far end of everything else; as it is, where everything is sky."""
    stride = max(1, round((depth.numel() / FAR_SAMPLES) ** 0.5))
    others = torch.where(sky, torch.nan, depth)[::stride, ::stride]
    far = torch.nanquantile(others, FAR_SHARE)  # NaN where there is nothing else
    return torch.where(sky & far.isfinite(), far, depth)


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str) -> DepthAnything3:
    """weights: a published ``model.safetensors``. Raises WeightsError where it is another model's or broken."""
    _require_model(weights.with_name("config.json"), name)
    _, architecture = PUBLISHED[name]
    tensors, _ = load_tensors(weights)
    with torch.device("meta"):  # no weights of its own: all come from the file
        net = networks.build(architecture)
    load_strict(net.to_empty(device="cpu"), networks.depth_weights(tensors), weights)
    return DepthAnything3(net, name, claim, device, size)


def _require_model(config: Path, name: str) -> None:
    """Metric and monocular weights differ in nothing but what they mean: a configuration beside them may tell."""
    try:
        told = json.loads(config.read_text(encoding="utf-8"))["model_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for ours, (theirs, _) in PUBLISHED.items():
        if told == theirs and ours != name:
            raise WeightsError(f"checkpoint beside {config} is {theirs}, not {PUBLISHED[name][0]}: give it to model '{ours}'")
