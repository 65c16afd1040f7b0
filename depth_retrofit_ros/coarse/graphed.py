"""A coarse model as CUDA graphs."""

from __future__ import annotations

from dataclasses import replace

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.device.cuda_graphs import Graphed


class GraphedCoarse:
    """A ``CoarseModel`` replayed as a graph: one per image size and camera."""

    def __init__(self, model: CoarseModel) -> None:
        self.name, self.claim, self.device = model.name, model.claim, model.device
        self._graphed = Graphed(
            lambda camera, image: model.predict(image, camera),
            lambda made: replace(made, depth=made.depth.clone(), features=made.features.clone()),
            model.device,
        )

    def predict(self, image: torch.Tensor, camera: Camera | None) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        return self._graphed(camera, image)
