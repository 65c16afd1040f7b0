"""Confidence: the probability that a pixel's published depth is within 5 % of the true one, up to the frame's scale.

What is meant: take the median, over the frame's pixels, of true over published depth, and multiply all of the published depth by
it; that scale is a matter of the model's claim and of a scale fit, not of a pixel. The confidence says how likely the pixel's depth
is then within ``correctness.TOLERANCE`` of the true one. Of a relative model, whose disparity lacks a shift, that shift is an error
like any other. In the sky there is no surface, so that no depth of it is right.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from depth_retrofit_ros.confidence import estimate_cpu
from depth_retrofit_ros.confidence.calibration import Calibration, Part, bundled_calibration
from depth_retrofit_ros.confidence.features import CELL, CHOICE, FRAME, PIXEL, cell_features, choices, difference, reaches, steps
from depth_retrofit_ros.frame import DepthFrame
from depth_retrofit_ros.pointcloud.surfaces import sky_pixels
from depth_retrofit_ros.upsampling.interpolation import bilinear, sample_at


def confidence_of(result: DepthFrame, calibration: Calibration | None = None) -> torch.Tensor:
    """The confidence of each pixel, ``float32 [H, W]``, 0…1, NaN where depth is unknown, on the answer's device.

    result: of ``Retrofit``. calibration: None for the one of the package. Where a refiner gives no ``choice_entropy``, its pixels
    are judged as those that it left alone. In the sky, see ``surfaces.sky_pixels``, it is 0. On CUDA nothing waits for the device.
    """
    chosen = calibration or bundled_calibration()
    if result.depth.device.type == "cpu":
        confidence = estimate_cpu.estimate(result, chosen)
    else:
        confidence = confidence_by_torch(result, chosen)
    if result.sky is not None:
        confidence.masked_fill_(sky_pixels(result) & ~confidence.isnan(), 0.0)
    return confidence


def cut_below(result: DepthFrame, least: float, confidence: torch.Tensor) -> DepthFrame:
    """The answer with unknown depth wherever its ``confidence [H, W]`` is below ``least``."""
    if result.depth.device.type == "cpu":
        return replace(result, depth=estimate_cpu.cut(result.depth, least, confidence))
    return replace(result, depth=torch.where(confidence < least, torch.nan, result.depth))


def to_8bit(confidence: torch.Tensor) -> torch.Tensor:
    """``float32 [H, W]`` → ``uint8 [H, W]``: 0…255 for 0…1, and 0 where depth is unknown."""
    if confidence.device.type == "cpu":
        return estimate_cpu.to_8bit(confidence)
    return confidence.nan_to_num(0.0).mul_(255).round_().to(torch.uint8)


def confidence_by_torch(result: DepthFrame, calibration: Calibration) -> torch.Tensor:
    """``confidence_of`` but for the sky, in plain torch: the specification of the compiled pass, and what runs on CUDA."""
    size, low = result.selection.size, (result.coarse.shape[0], result.coarse.shape[1])
    cells = dict(zip(CELL + FRAME, cell_features(result), strict=True))

    def on_cells(part: Part) -> torch.Tensor:
        return torch.stack([part.curves[name](feature) for name, feature in cells.items()]).sum(0) + part.offset(result.model)

    kept = bilinear(on_cells(calibration.kept).sigmoid()[None], size)[0]
    told = torch.where(result.depth.isnan(), torch.nan, kept)
    if result.choice_entropy is None:
        return told
    (at, entropy, gate), curves = choices(result), calibration.refined.curves
    odds = sample_at(on_cells(calibration.refined)[..., None], at, size)[:, 0]
    for name, reach in zip(PIXEL, reaches(size, low), strict=True):
        odds = odds + curves[name](steps(result.depth, reach).flatten()[at])
    change = difference(result.depth.flatten()[at], result.base.flatten()[at])
    for name, value in zip(CHOICE, (entropy, gate, change), strict=True):
        odds = odds + curves[name](value)
    return told.flatten().index_copy(0, at, odds.sigmoid()).view(size)
