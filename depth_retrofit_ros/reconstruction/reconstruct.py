"""From images to refined views in the first camera's frame, one view at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.coarse.networks.signed_log import exp_signed, log_signed
from depth_retrofit_ros.coarse.views import CoarseView, MultiViewModel
from depth_retrofit_ros.presets import USUAL, Parts
from depth_retrofit_ros.reconstruction.cloud import confidence_limit
from depth_retrofit_ros.reconstruction.geometry import composed, inverse
from depth_retrofit_ros.reconstruction.refined_view import Geometry, RefinedView, ViewRefiner, depth_of_points
from depth_retrofit_ros.refinement.base import Refiner

ReadImage = Callable[[], np.ndarray]
"""Reads one image, ``uint8 [H, W, 3]`` RGB. It is asked twice, so that not all of them are in memory at once."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """views: refined one by one, as they are taken, in the order of the images; limit: the confidence that a point must have;
    metric: whether all is in metres."""

    views: Iterator[RefinedView]
    limit: float
    metric: bool


def reconstruct(
    model: MultiViewModel,
    refiner: Refiner[Any],
    images: Sequence[ReadImage],
    budget: float = 0.10,
    geometry: Geometry = "depth",
    drop: float = 0.25,
    parts: Parts = USUAL,
) -> Reconstruction:
    """All views at once through the model, then each through ``Retrofit``; the world is the first view's camera.

    budget: share of each image's pixels that are refined; drop: share of the coarse pixels, those of the lowest confidence, that
    ``Reconstruction.limit`` leaves out; parts: see ``Retrofit``. Raises DepthRetrofitError.
    """
    tensors = (torch.from_numpy(read()).to(model.device) for read in images)
    views = in_first_camera(model.predict_views(tensors, point_maps=geometry == "points"))
    refine = ViewRefiner(model.name, model.claim, refiner, budget, geometry, parts)
    limit = confidence_limit((_confidence(view, geometry) for view in views), drop)
    refined = (refine(read(), view) for read, view in zip(images, views, strict=True))
    return Reconstruction(refined, limit, model.claim.source(trust_scale=False) is not None)


def in_first_camera(views: Sequence[CoarseView]) -> list[CoarseView]:
    """The same views, in the frame of the first one's camera."""
    world = inverse(views[0].camera_from_world)
    return [_in_world(view, world) for view in views]


def _in_world(view: CoarseView, old_from_new: np.ndarray) -> CoarseView:
    point_map = view.point_map
    if point_map is not None:
        pose = torch.from_numpy(inverse(old_from_new)).to(point_map.raw)
        points = torch.einsum("ij,jhw->ihw", pose[:, :3], exp_signed(point_map.raw)) + pose[:, 3, None, None]
        point_map = replace(point_map, raw=log_signed(points))
    return replace(view, camera_from_world=composed(view.camera_from_world, old_from_new), point_map=point_map)


def _confidence(view: CoarseView, geometry: Geometry) -> torch.Tensor | None:
    if geometry == "points" and view.point_map is not None:
        return None if view.point_map.confidence is None else depth_of_points(view, view.point_map)[1]
    return view.confidence
