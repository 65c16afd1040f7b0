"""What a model says of several views of one scene at once: their depth, and where their cameras stood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.errors import DatasetError


@dataclass(frozen=True, slots=True)
class PointMap:
    """Where a head of its own puts what each pixel sees, beside depth and camera.

    raw: ``float32 [3, h, w]``, points in the views' common frame before the head's output map, see ``networks.signed_log``;
    features: ``[C, h', w']``, as ``CoarsePrediction.features``; confidence: as ``CoarseView.confidence``.
    """

    raw: torch.Tensor
    features: torch.Tensor
    confidence: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class CoarseView:
    """One of the views.

    prediction: its depth, in one unit for all views; camera: intrinsics at the image's own size; camera_from_world: ``float64
    [3, 4]``, rotation and translation in the unit of depth, of a frame common to all views; axes x right, y down, z forward.
    confidence: ``float32 [h, w]``, ≥ 0, comparable over all views of one call, more is surer; None of a model that does not say.
    """

    prediction: CoarsePrediction
    camera: Camera
    camera_from_world: np.ndarray
    confidence: torch.Tensor | None = None
    point_map: PointMap | None = None


@runtime_checkable
class MultiViewModel(Protocol):
    """A frozen model of several views; its other members as ``CoarseModel``'s."""

    name: str
    claim: ScaleClaim
    device: torch.device

    def predict_views(self, images: Iterable[torch.Tensor], point_maps: bool = False) -> list[CoarseView]:
        """images: ``uint8 [H, W, 3]`` RGB on ``device``, each read once, none kept; point_maps: whether those are wanted, too.

        Runs without gradient. Raises DepthRetrofitError where the images cannot be views of one scene to the model, and ModelError
        where point maps are wanted of one that has none.
        """
        ...


@dataclass(frozen=True, slots=True)
class NewestView:
    """What a model says of its first view at once, and of all views when it is asked.

    prediction: of the first; cameras_from_world: ``camera_from_world`` of all; views: makes all of them, as ``predict_views``.
    """

    prediction: CoarsePrediction
    cameras_from_world: tuple[np.ndarray, ...]
    views: Callable[[], Sequence[CoarseView]]


@runtime_checkable
class NewestFirstModel(MultiViewModel, Protocol):
    """A model of several views that need not compute what nobody asks for."""

    def predict_newest(self, images: Iterable[torch.Tensor]) -> NewestView:
        """images: as of ``predict_views``, and raises as that does."""
        ...


def newest_view(model: MultiViewModel, images: Iterable[torch.Tensor]) -> NewestView:
    """See ``NewestView``; of a model that cannot wait, all is computed at once."""
    if isinstance(model, NewestFirstModel):
        return model.predict_newest(images)
    views = model.predict_views(images)
    return NewestView(views[0].prediction, tuple(view.camera_from_world for view in views), lambda: views)


class GivenCoarse:
    """``CoarseModel`` that answers one frame with what is known already: make one per view."""

    def __init__(self, prediction: CoarsePrediction, name: str, claim: ScaleClaim) -> None:
        self.prediction, self.name, self.claim = prediction, name, claim
        self.device = prediction.depth.device

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``. Raises DatasetError where the prediction is larger than the image."""
        height, width = image.shape[:2]
        h, w = self.prediction.depth.shape
        if h > height or w > width:
            raise DatasetError(f"the depth of {self.name} is {w}x{h}, larger than its image ({width}x{height}): give larger images")
        return self.prediction
