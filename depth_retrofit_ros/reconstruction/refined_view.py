"""One view: its coarse geometry refined at the image's own resolution, by the same ``Retrofit`` as a frame of a stream.

The paper's fusion mixes coarse and refined values in the raw space of the head, before its output map. For depth that space is
ln depth, which is where ``Retrofit`` mixes. For a point map it is the signed logarithm of the coordinates: what is refined is depth
along the pixels' rays, and the gate mixes the coarse with the refined point in that space.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.networks.signed_log import exp_signed, log_signed
from depth_retrofit_ros.coarse.views import CoarseView, GivenCoarse, PointMap
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.presets import USUAL, Parts
from depth_retrofit_ros.reconstruction.geometry import inverse, moved, rays
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.upsampling.interpolation import bilinear

Geometry = Literal["depth", "points"]
NEAREST = 1e-3  # of the median depth: what a point map has nearer, or behind the camera, is no surface
LEAST_REFINED = 1e-3  # smallest share of the refined value that its change can be told from


@dataclass(frozen=True, slots=True)
class RefinedView:
    """image ``uint8 [H, W, 3]``; frame: depth along the optical axis, its base and what was refined; points ``float32 [3, H, W]``
    in the world; confidence ``float32 [H, W]`` or None: of the coarse model; camera: intrinsics at
    [H, W]; camera_from_world ``float64 [3, 4]``.
    """

    image: np.ndarray
    frame: DepthFrame
    points: np.ndarray
    confidence: np.ndarray | None
    camera: Camera
    camera_from_world: np.ndarray


class ViewRefiner:
    """Refines views of one model, all by one ``Retrofit``. name, claim: the model's; budget: see ``Retrofit``; it may be changed
    between views. geometry: what the points are made of, depth and camera, or the model's point map. parts: see ``Retrofit``."""

    def __init__(
        self,
        name: str,
        claim: ScaleClaim,
        refiner: Refiner[Any],
        budget: float,
        geometry: Geometry = "depth",
        parts: Parts = USUAL,
    ) -> None:
        self._name, self._claim, self._refiner, self.budget, self.geometry = name, claim, refiner, budget, geometry
        self._parts = parts
        self._retrofit: Retrofit | None = None  # made with the first view, which knows the device

    def __call__(self, image: np.ndarray, view: CoarseView) -> RefinedView:
        """image ``uint8 [H, W, 3]``, the one that ``view`` was predicted of. Raises DepthRetrofitError."""
        of_points = view.point_map if self.geometry == "points" else None
        if of_points is None:
            prediction, confidence = view.prediction, view.confidence
        else:
            prediction, confidence = depth_of_points(view, of_points)
        frame = self._method(prediction)(Frame(image, camera=view.camera))
        world = inverse(view.camera_from_world)
        if of_points is None:
            points = moved(rays(view.camera) * frame.depth.cpu().numpy(), world)
        else:
            points = _fused_points(frame, view, of_points)
        full = full_confidence(confidence, (image.shape[0], image.shape[1]))
        return RefinedView(image, frame, points, full, view.camera, view.camera_from_world)

    def _method(self, prediction: CoarsePrediction) -> Retrofit:
        """With this answer of the model."""
        given = GivenCoarse(prediction, self._name, self._claim)
        if self._retrofit is None:
            self._retrofit = Retrofit(given, self._refiner, parts=self._parts)
        self._retrofit.coarse, self._retrofit.budget = given, self.budget
        return self._retrofit


def full_confidence(confidence: torch.Tensor | None, size: tuple[int, int]) -> np.ndarray | None:
    """The confidence ``[h, w]`` at the image's ``size`` (H, W)."""
    return None if confidence is None else bilinear(confidence[None], size)[0].cpu().numpy()


def depth_of_points(view: CoarseView, point_map: PointMap) -> tuple[CoarsePrediction, torch.Tensor]:
    """The depth of a point map in its view's camera, and its confidence, which is 0 where a point is behind the camera."""
    z = _in_camera(view, point_map)[2]
    ahead = z > 0
    floor = NEAREST * (z[ahead].median() if bool(ahead.any()) else z.new_tensor(1.0))
    known = torch.ones_like(z) if point_map.confidence is None else point_map.confidence
    prediction = replace(view.prediction, depth=torch.maximum(z, floor), features=point_map.features, normals=None)
    return prediction, torch.where(z > floor, known, 0.0)


def _in_camera(view: CoarseView, point_map: PointMap) -> torch.Tensor:
    """The point map in its view's camera, ``float32 [3, h, w]``."""
    pose = torch.from_numpy(view.camera_from_world).to(point_map.raw)
    return torch.einsum("ij,jhw->ihw", pose[:, :3], exp_signed(point_map.raw)) + pose[:, 3, None, None]


def _fused_points(frame: DepthFrame, view: CoarseView, point_map: PointMap) -> np.ndarray:
    """Points ``float32 [3, H, W]`` in the world: the gate's mix in the head's raw space where refined, else along the base depth.

    A pixel's ray is the point map's own, which need not be the camera's.
    """
    in_camera = _in_camera(view, point_map)
    coarse_camera = view.camera.resized(point_map.raw.shape[2], point_map.raw.shape[1])
    # By how much its rays differ from the camera's is interpolated, not the rays, whose slope goes on beyond the coarse centers.
    own = in_camera[:2] / in_camera[2] - torch.from_numpy(rays(coarse_camera)[:2]).to(in_camera)
    difference = bilinear(torch.where(in_camera[2] > 0, own, 0.0), (frame.depth.shape[0], frame.depth.shape[1]))
    slopes = (torch.from_numpy(rays(view.camera)[:2]).to(difference) + difference).flatten(1)
    world = torch.from_numpy(inverse(view.camera_from_world)).to(slopes)

    def points(depth: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return world[:, :3] @ torch.cat((at * depth, depth[None])) + world[:, 3:]

    base = frame.base.flatten()
    out = points(base, slopes)
    chosen = frame.selection.indices.long()
    coarse, share = base[chosen], 1 - frame.gate
    change = (frame.depth.flatten()[chosen] / coarse).log() / share.clamp_min(LEAST_REFINED)
    before, after = log_signed(out[:, chosen]), log_signed(points(coarse * change.exp(), slopes[:, chosen]))
    out[:, chosen] = exp_signed(before + share * (after - before))
    return out.view(3, *frame.depth.shape).float().cpu().numpy()
