"""What every coarse model looks like from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import torch
import torch.nn.functional as F

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


def downsample(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Area-average ``uint8 [H, W, 3]`` to ``float32 [1, 3, h, w]`` in 0…1; ``size = (h, w)``. Areas: the grids stay aligned."""
    if image.device.type == "cpu":
        height, width = size
        shrink = height <= image.shape[0] and width <= image.shape[1]
        small = cv2.resize(image.numpy(), (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
        return torch.from_numpy(small).permute(2, 0, 1)[None].float().div_(255)
    return box_average(image.permute(2, 0, 1).float().div_(255), size)[None]


def box_average(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``[C, H, W]`` → ``[C, h, w]``: the mean over each target pixel's own area, fractions of source pixels included (as OpenCV's
    INTER_AREA); bilinear where the target is larger."""
    if size[0] > planes.shape[1] or size[1] > planes.shape[2]:
        return F.interpolate(planes[None], size=size, mode="bilinear", align_corners=False)[0]
    rows, columns = (_shares(n, low, planes.device) for n, low in zip(planes.shape[1:], size, strict=True))
    return rows @ planes @ columns.T


def _shares(high: int, low: int, device: torch.device) -> torch.Tensor:
    """``[low, high]``: the share of each fine cell's length in each coarse cell; rows sum to 1."""
    edges = torch.arange(low + 1, device=device, dtype=torch.float64) * (high / low)
    fine = torch.arange(high, device=device, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], fine + 1) - torch.maximum(edges[:-1, None], fine)
    return (overlap.clamp_min(0) * (low / high)).float()


def fit_long_side(height: int, width: int, long_side: int, multiple: int) -> tuple[int, int]:
    """The size (h, w) with the frame's aspect, the given long side, both rounded to ``multiple`` (at least one multiple)."""
    scale = long_side / max(height, width)
    return max(multiple, round(height * scale / multiple) * multiple), max(multiple, round(width * scale / multiple) * multiple)
