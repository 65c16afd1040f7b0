"""What every coarse model looks like from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.claim import ScaleClaim


@dataclass(frozen=True, slots=True)
class CoarsePrediction:
    """A low-resolution prediction for the whole frame; all maps cover exactly the frame's field of view.

    depth: ``float32 [h, w]`` along the optical axis, > 0 and finite (a model that speaks disparity converts it); what it means
    is the model's ``ScaleClaim``.
    features: ``[C, h', w']``, the head's features before its last projection: the softmax entropy over C is the selection score.
    """

    depth: torch.Tensor
    features: torch.Tensor


class CoarseModel(Protocol):
    """A frozen foundation model.

    name: as registered. claim: what its depth is, and on whose word it is in metres. device: where it computes.
    """

    name: str
    claim: ScaleClaim
    device: torch.device

    def predict(self, image: torch.Tensor, camera: Camera | None) -> CoarsePrediction:
        """image: ``uint8 [H, W, 3]`` RGB on ``device``, any size; camera: its intrinsics at [H, W]. Runs without gradient."""
        ...


def fit_long_side(height: int, width: int, long_side: int, multiple: int) -> tuple[int, int]:
    """The size (h, w) with the frame's aspect, the given long side, both rounded to ``multiple`` (at least one multiple)."""
    scale = long_side / max(height, width)
    return max(multiple, round(height * scale / multiple) * multiple), max(multiple, round(width * scale / multiple) * multiple)
