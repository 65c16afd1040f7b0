"""The baselines: other ways to bring the same coarse map to the frame's size. Each is as strong as its parameters can make it.

The parameters of ``guided`` and ``jbu`` are those with the least product of AbsRel in the edge band and AbsRel outside of it on
simulated coarse maps of scenes that nothing else uses (docs/evaluation.md). Of depth, ln depth and inverse depth each works on the
one with which it does best. The guide is RGB in 0…1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import torch

from depth_retrofit_ros.evaluation.baselines.guided_filter import guided_upsample
from depth_retrofit_ros.evaluation.baselines.joint_bilateral import joint_bilateral_upsample
from depth_retrofit_ros.upsampling.interpolation import upsample

GUIDED_RADIUS = 1  # coarse pixels
GUIDED_EPSILON = 1e-4
JBU_SIGMA_SPACE = 2.0  # coarse pixels
JBU_SIGMA_COLOR = 0.04

# (image uint8 [H, W, 3], coarse depth float32 [h, w]) → depth float32 [H, W]
Upsampler = Callable[[np.ndarray, torch.Tensor], np.ndarray]


def nearest(image: np.ndarray, coarse: torch.Tensor) -> np.ndarray:
    """The value of the coarse pixel that each pixel lies in."""
    return upsample(coarse, (image.shape[0], image.shape[1]), "nearest").cpu().numpy()


def bilinear(image: np.ndarray, coarse: torch.Tensor) -> np.ndarray:
    """Bilinear interpolation of depth."""
    return upsample(coarse, (image.shape[0], image.shape[1]), "bilinear").cpu().numpy()


def guided(image: np.ndarray, coarse: torch.Tensor) -> np.ndarray:
    """Fast guided filter of ln depth with the RGB image as guide."""
    guide, coarse_guide = guides(image, coarse)
    log_depth = guided_upsample(guide, coarse_guide, np.log(coarse.cpu().numpy()), GUIDED_RADIUS, GUIDED_EPSILON)
    return np.asarray(np.exp(log_depth))


def jbu(image: np.ndarray, coarse: torch.Tensor) -> np.ndarray:
    """Joint bilateral upsampling of inverse depth with the RGB image as guide."""
    guide, coarse_guide = guides(image, coarse)
    inverse = np.reciprocal(coarse.cpu().numpy())
    return np.reciprocal(joint_bilateral_upsample(guide, coarse_guide, inverse, JBU_SIGMA_SPACE, JBU_SIGMA_COLOR))


UPSAMPLERS: Mapping[str, Upsampler] = MappingProxyType({f.__name__: f for f in (nearest, bilinear, guided, jbu)})


def guides(image: np.ndarray, coarse: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """RGB in 0…1 at full size, and averaged over the coarse pixels."""
    guide = np.multiply(image, np.float32(1 / 255), dtype=np.float32)
    return guide, cv2.resize(guide, (coarse.shape[1], coarse.shape[0]), interpolation=cv2.INTER_AREA)
