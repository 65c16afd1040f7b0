"""A coarse model as CUDA graphs."""

from __future__ import annotations

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.input_size import InputSize, size_of
from depth_retrofit_ros.device.cuda_graphs import Graphed


class GraphedCoarse:
    """A ``CoarseModel`` replayed as a graph: one per image size and camera. Not for models that use hints."""

    def __init__(self, model: CoarseModel) -> None:
        self.name, self.claim, self.device = model.name, model.claim, model.device
        self._graphed = Graphed(
            lambda camera, image: model.predict(image, camera),
            _copy,
            model.device,
        )
        self._model = model
        self._size = size_of(model)

    @property
    def network(self) -> object:
        """Of the model; for what runs it, see ``coarse.engines.assign.engine_of``."""
        return getattr(self._model, "network", None)

    @property
    def size(self) -> InputSize | None:
        """Of the model's input, which the graphs have for good."""
        return self._size

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        return self._graphed(camera, image)


def _copy(made: CoarsePrediction) -> CoarsePrediction:
    """The prediction in tensors of its own."""
    more = (None if values is None else values.clone() for values in (made.sky, made.normals, made.unknown))
    return CoarsePrediction(made.depth.clone(), made.features.clone(), *more)
