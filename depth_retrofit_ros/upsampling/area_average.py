"""From the frame's grid to a coarse one: the mean over each coarse pixel's own area, so that the grids stay aligned."""

from __future__ import annotations

import cv2
import torch

from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.upsampling.interpolation import bilinear


def downsample(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Area-average ``uint8 [H, W, 3]`` to ``float32 [1, 3, h, w]`` in 0…1; ``size = (h, w)``."""
    height, width = size
    shrink = height <= image.shape[0] and width <= image.shape[1]
    if shrink and has_kernels(image.device):
        from depth_retrofit_ros.upsampling import area_average_triton

        return area_average_triton.average(image, size)[None]
    if image.device.type == "cpu":
        small = cv2.resize(image.numpy(), (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
        return torch.from_numpy(small).permute(2, 0, 1)[None].float().div_(255)
    return box_average(image.permute(2, 0, 1).float().div_(255), size)[None]


def box_average(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``[C, H, W]`` → ``[C, h, w]``: the mean over each target pixel's own area, fractions of source pixels included (as OpenCV's
    INTER_AREA); bilinear where the target is larger."""
    if size[0] > planes.shape[1] or size[1] > planes.shape[2]:
        return bilinear(planes, size)
    rows, columns = (_shares(n, low, planes.device) for n, low in zip(planes.shape[1:], size, strict=True))
    return rows @ planes @ columns.T


def _shares(high: int, low: int, device: torch.device) -> torch.Tensor:
    """``[low, high]``: the share of each fine cell's length in each coarse cell; rows sum to 1."""
    edges = torch.arange(low + 1, device=device, dtype=torch.float64) * (high / low)
    fine = torch.arange(high, device=device, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], fine + 1) - torch.maximum(edges[:-1, None], fine)
    return (overlap.clamp_min(0) * (low / high)).float()
