"""The views' points as one coloured cloud: which are left out, and their file, written view by view."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from depth_retrofit_ros.pointcloud.surfaces import surface_depth
from depth_retrofit_ros.reconstruction.refined_view import RefinedView

EXACT_UP_TO = 1 << 22  # values, from which a quantile is taken; of more, evenly spaced ones


def confidence_limit(maps: Iterable[torch.Tensor | None], drop: float) -> float:
    """The confidence below which the share ``drop`` of all the views' coarse pixels lies; 0, which drops none, without any."""
    known = [part.flatten().cpu() for part in maps if part is not None]
    if not known or drop <= 0:
        return 0.0
    values = torch.cat(known)
    step = -(-values.numel() // EXACT_UP_TO)
    return float(np.quantile(values[::step].numpy(), drop))


def cloud_points(view: RefinedView, limit: float, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Every ``stride``-th pixel's point: positions ``float32 [N, 3]`` in the world, colours ``uint8 [N, 3]`` RGB.

    Left out are points of lower confidence than ``limit`` and, whatever the limit, of confidence 0, of unknown depth, not finite,
    and in the sky.
    """
    every = (slice(None, None, stride), slice(None, None, stride))
    points = view.points[:, every[0], every[1]].reshape(3, -1).T
    colors = view.image[every].reshape(-1, 3)
    depth = surface_depth(view.frame)[every].cpu().numpy().reshape(-1)
    keep = np.isfinite(points).all(1) & np.isfinite(depth) & (depth > 0)
    if view.confidence is not None:
        confidence = view.confidence[every].reshape(-1)
        keep &= (confidence >= limit) & (confidence > 0)
    return np.ascontiguousarray(points[keep]), np.ascontiguousarray(colors[keep])
