"""A coarse model as CUDA graphs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.engines.compiled import CompiledNetwork
from depth_retrofit_ros.coarse.input_size import InputSize, size_of
from depth_retrofit_ros.device.cuda_graphs import Graphed
from depth_retrofit_ros.device.cuda_streams import Upload


class GraphedCoarse:
    """A ``CoarseModel`` replayed as a graph: one per image size, with and without a camera, whose intrinsics are an input like the
    image. Not for models that use hints, nor for one that decides by the numbers of its camera: capturing it raises."""

    def __init__(self, model: CoarseModel) -> None:
        self.name, self.claim, self.device = model.name, model.claim, model.device

        def predict(key: Hashable, image: torch.Tensor, *intrinsics: torch.Tensor) -> CoarsePrediction:
            return model.predict(image, CapturedCamera.of(image, *intrinsics) if intrinsics else None)

        self._graphed = Graphed(predict, _copy, model.device, source=self._program)
        self._model = model
        self._size = size_of(model)
        self._upload = Upload(model.device)

    @property
    def network(self) -> object:
        """Of the model; for what runs it, see ``coarse.engines.assign.engine_of``."""
        return getattr(self._model, "network", None)

    def _program(self) -> object:
        """What computed last: a program of one size is forgotten sooner than a graph that reads its weights may be."""
        return self.network.newest if isinstance(self.network, CompiledNetwork) else None

    @property
    def size(self) -> InputSize | None:
        """Of the model's input, which the graphs have for good."""
        return self._size

    @property
    def captures(self) -> int:
        """How many graphs were captured so far."""
        return self._graphed.captures

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        if camera is None:
            return self._graphed(None, image)
        return self._graphed(None, image, self._upload(np.array([camera.fx, camera.fy, camera.cx, camera.cy])))


class CapturedCamera(Camera):
    """The camera of a graph: fx, fy, cx and cy are ``float64 []`` on the device, read whenever the graph is replayed. Models
    multiply and divide by them, as they do by numbers, and maps of float32 stay so."""

    @classmethod
    def of(cls, image: torch.Tensor, intrinsics: torch.Tensor) -> CapturedCamera:
        """Of the image ``[H, W, 3]``; intrinsics: ``float64 [4]``."""
        fx, fy, cx, cy = (cast(float, number) for number in intrinsics.unbind())
        return cls(image.shape[1], image.shape[0], fx, fy, cx, cy)

    def __post_init__(self) -> None:
        """The numbers were judged when the frame's camera was made; within a capture none can be looked at."""


def _copy(made: CoarsePrediction) -> CoarsePrediction:
    """The prediction in tensors of its own."""
    more = (None if values is None else values.clone() for values in (made.sky, made.normals, made.unknown))
    return CoarsePrediction(made.depth.clone(), made.features.clone(), *more)
