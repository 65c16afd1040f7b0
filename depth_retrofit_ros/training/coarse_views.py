"""Coarse maps to train refiners with: what frozen models say of a scene of the pool, and what simulated ones do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim, stored_claim
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.selection.uncertainty import doubt
from depth_retrofit_ros.training import degradations

FAR_FACTOR = 2.5  # the sky is put this much behind the farthest thing where a model answers, which does not see where it is put
SIMULATED_CLAIM = stored_claim(metric=False)  # a simulated answer stands for models of any kind
FAR_FACTORS = (1.2, 100.0)  # and between these where an answer is simulated: models disagree by as much


@dataclass(frozen=True, slots=True)
class CoarseView:
    """A coarse map of a whole frame, limited as at run time: depth, doubt ``[h, w]`` (see ``selection.uncertainty``); the truth
    ``[h, w]`` at its pixel centres, and how far the sky is in it [m]. features: ``float16 [C, h', w']`` of the model of that name;
    of a simulated one, whose name is empty, they say nothing that the doubt does not."""

    depth: torch.Tensor
    doubt: torch.Tensor
    truth: torch.Tensor
    far: float
    features: torch.Tensor
    model: str = ""

    @property
    def bytes(self) -> int:
        """Memory of its maps."""
        return sum(m.nbytes for m in (self.depth, self.doubt, self.truth, self.features))


def finite_truth(data: Mapping[str, np.ndarray], factor: float) -> tuple[np.ndarray, float]:
    """The view's true depth with the sky ``factor`` times as far as the farthest thing, and that distance [m]."""
    depth = data["view_depth"]
    known = depth[np.isfinite(depth)]
    far = float(factor * known.max()) if known.size else 100.0
    return np.where(np.isfinite(depth), np.maximum(depth, 0.05), far).astype(np.float32), far


def model_view(model: CoarseModel, data: Mapping[str, np.ndarray]) -> CoarseView:
    """What a frozen model says of the view."""
    image = torch.from_numpy(data["view"])
    height, width = image.shape[:2]
    frame_w, frame_h = (int(v) for v in data["frame"])
    f_px = float(data["f_px"])
    camera = Camera(frame_w, frame_h, f_px, f_px, (frame_w - 1) / 2, (frame_h - 1) / 2).resized(width, height)
    return _seen(model.predict(image.to(model.device), camera), model.claim, *finite_truth(data, FAR_FACTOR), model.name)


def simulated_view(rng: np.random.Generator, data: Mapping[str, np.ndarray]) -> CoarseView:
    """A simulated model's answer (see ``degradations``)."""
    truth, far = finite_truth(data, float(np.exp(rng.uniform(*np.log(FAR_FACTORS)))))
    simulated = degradations.simulate_coarse(rng, truth, degradations.random_degradation(rng))
    depth, features = (torch.from_numpy(m) for m in simulated)
    return _seen(CoarsePrediction(depth, features), SIMULATED_CLAIM, truth, far)


def _seen(prediction: CoarsePrediction, claim: ScaleClaim, truth: np.ndarray, far: float, model: str = "") -> CoarseView:
    limited = limit_far(prediction, claim)
    depth, features = limited.depth.cpu(), limited.features.to("cpu", torch.float16)
    return CoarseView(depth, doubt(limited).cpu(), _nearest(torch.from_numpy(truth), depth.shape), far, features, model)


def _nearest(values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(values[None, None], size=tuple(size), mode="nearest-exact")[0, 0]
