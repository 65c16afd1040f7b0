"""What every coarse model looks like from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.frame import SparseDepth


@dataclass(frozen=True, slots=True)
class CoarsePrediction:
    """A low-resolution prediction for the whole frame; all maps cover exactly the frame's field of view.

    depth: ``float32 [h, w]`` along the optical axis, > 0 and finite (a model that speaks disparity converts it); what it means
    is the model's ``ScaleClaim``.
    features: ``[C, h', w']``, the head's features before its last projection: the softmax entropy over C is the selection score.
    A model that classifies depth gives the logarithm of its distribution instead, whose softmax is that distribution.
    sky: ``bool [h, w]``, where the model itself says that there is no surface; None of a model that does not say. Depth there is
    finite like elsewhere, however far.
    unknown: ``bool [h, w]``, where nothing is known, as in the holes of a stored map; None where everything is. Depth there is
    finite like elsewhere, of what is known nearby, but the answer is NaN.
    normals: ``float32 [3, h, w]``, unit normals of the surfaces in the optical frame (x right, y down, z forward) that face the
    camera; None of a model that has none.
    unseen: ``bool [h, w]``, where a rectified frame shows nothing; None where it does everywhere. No model's word, but the lens's.
    """

    depth: torch.Tensor
    features: torch.Tensor
    sky: torch.Tensor | None = None
    normals: torch.Tensor | None = None
    unknown: torch.Tensor | None = None
    unseen: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a frame beside its image and camera; most models use none of it.

    stamp_ns: when it was taken [ns], for models that remember the frames before it; None for an image that stands alone.
    sparse: depth that a sensor knows, for models that take it as a prompt.
    """

    stamp_ns: int | None = None
    sparse: SparseDepth | None = None


NO_HINTS = Hints()


class CoarseModel(Protocol):
    """A frozen foundation model.

    name: as registered. claim: what its depth is, and on whose word it is in metres. device: where it computes.
    """

    name: str
    claim: ScaleClaim
    device: torch.device

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """image: ``uint8 [H, W, 3]`` RGB on ``device``, any size; camera: its intrinsics at [H, W]. Runs without gradient."""
        ...
