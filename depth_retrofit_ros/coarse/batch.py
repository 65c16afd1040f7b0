"""Frames of several cameras in one call of a coarse model: where that is done, and what it asks of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.engines.compiled import CompiledNetwork
from depth_retrofit_ros.coarse.input_size import size_of

MOST = 4  # frames of a batch: the first waits for the last


@runtime_checkable
class BatchModel(Protocol):
    """A ``CoarseModel`` without memory or hints, whose network takes several frames at once."""

    def predict_batch(self, images: Sequence[torch.Tensor], cameras: Sequence[Camera | None]) -> list[CoarsePrediction]:
        """As ``CoarseModel.predict`` of each; all images have one input size."""
        ...


def takes_batches(model: CoarseModel) -> bool:
    """Whether frames that wait together are given to this model as one batch: on CUDA, where the network of a model that takes
    batches runs eagerly.

    Not on a CPU: two frames at once take 0.95 of the time of one after the other (``compact``, one core), 2 ms of the pair's 140,
    and the first one waits for both. Not by an engine that compiles a program for each size: it would take one for each size of a
    batch, too.
    """
    network = getattr(model, "network", None)
    compiles = isinstance(network, CompiledNetwork) and network.compiles
    return model.device.type == "cuda" and isinstance(model, BatchModel) and not compiles


def fit_together(model: CoarseModel, sizes: Sequence[tuple[int, int]]) -> bool:
    """Whether frames of these sizes (H, W) have one input size."""
    size = size_of(model)
    return size is not None and len({size.of(*of_frame) for of_frame in sizes}) == 1
