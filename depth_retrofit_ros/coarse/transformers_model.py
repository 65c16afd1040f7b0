"""What the models that come through ``transformers`` have in common: how a frame goes in, and how depth comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.disparity import depth_from_disparity
from depth_retrofit_ros.coarse.engines.base import Tensors
from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.imagenet import DEVIATION, MEAN, NormalizedInput, Rgb, usual_precision
from depth_retrofit_ros.coarse.input_size import InputSize

IMAGENET: tuple[Rgb, Rgb] = MEAN, DEVIATION
CENTERED: tuple[Rgb, Rgb] = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
AS_IT_IS: tuple[Rgb, Rgb] = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
NEAREST_M = 1e-3
LEAST_SHARE = 1e-12  # of a distribution: its logarithm stays finite


class DepthNetwork(nn.Module):
    """A family's network that returns its features beside its answer, by calling the library's own parts.

    No hooks, so that an exported or compiled form has the same two outputs. net: the library's network.
    normalization: mean and standard deviation of the RGB in 0…1 that it was trained with.
    """

    normalization: ClassVar[tuple[Rgb, Rgb]] = IMAGENET

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def exact(self) -> Iterator[nn.Module]:
        """The parts that compute in float32 in any case: the last projection, and what is behind it."""
        raise NotImplementedError

    def forward(self, planes: Tensor) -> Tensors:
        """planes: the normalised image ``[1, 3, H, W]`` → answer ``float32 [1, h, w]``, features ``[1, C, h, w]``, and what
        else the family needs."""
        raise NotImplementedError


class NetworkModel:
    """What a ``CoarseModel`` with such a network has beside ``predict``. Input, depth and features keep the frame's aspect but for
    the rounding of ``size``.

    size: of the input; dtype: None for float16 on CUDA and float32 elsewhere. Depth is float32 in any case.
    """

    def __init__(
        self,
        network: DepthNetwork,
        name: str,
        claim: ScaleClaim,
        device: torch.device,
        size: InputSize,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name = name
        self.claim = claim
        self.device = device
        self.size = size
        self.dtype = dtype or usual_precision(device)
        self.network = in_precision(network, self.dtype).to(device).eval()
        self._normalized = NormalizedInput(device, self.dtype, *network.normalization)

    def planes(self, image: Tensor) -> Tensor:
        """The network's input ``[1, 3, h, w]`` for a frame ``uint8 [H, W, 3]``."""
        return self._normalized(image, self.size.of(image.shape[0], image.shape[1]))


class TransformersModel(NetworkModel):
    """``CoarseModel`` and ``BatchModel``: of each frame by its image alone, whose depth is what the network answers."""

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used."""
        return self.predict_batch([image], [camera])[0]

    @torch.no_grad()
    def predict_batch(self, images: Sequence[Tensor], cameras: Sequence[Camera | None]) -> list[CoarsePrediction]:
        """See ``BatchModel.predict_batch``."""
        planes = [self.planes(image) for image in images]
        answers, features, *_ = self.network(planes[0] if len(planes) == 1 else torch.cat(planes))
        return [CoarsePrediction(depth_of(answer, self.claim), own) for answer, own in zip(answers, features, strict=True)]


def depth_of(answer: Tensor, claim: ScaleClaim) -> Tensor:
    """Depth > 0 of an answer ``[h, w]`` that is disparity where the claim says so, else depth."""
    return depth_from_disparity(answer) if claim.inverse else answer.clamp_min(NEAREST_M)
