"""The newest frames of a stream as views of one scene: a model of several views answers each frame with those before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.input_size import InputSize, size_of
from depth_retrofit_ros.coarse.past import Past
from depth_retrofit_ros.coarse.views import CoarseView, MultiViewModel, newest_view
from depth_retrofit_ros.errors import ModelError


@dataclass(frozen=True, slots=True)
class WindowPrediction(CoarsePrediction):
    """The newest frame's prediction, with all of the window, the newest first: images ``uint8 [H, W, 3]``; cameras_from_world, see
    ``CoarseView``; views: makes them, and the first call may have depth to compute."""

    images: tuple[torch.Tensor, ...] = ()
    cameras_from_world: tuple[np.ndarray, ...] = ()
    views: Callable[[], Sequence[CoarseView]] = tuple


class ViewWindow:
    """``CoarseModel``. count: frames in the window, the newest among them.

    It begins anew where images change their size, and where ``Past`` says so: at a bag that starts again, or after a gap. A frame
    without a stamp is a window of its own.
    """

    def __init__(self, model: MultiViewModel, count: int) -> None:
        self.name, self.claim, self.device = model.name, model.claim, model.device
        self._model = model
        self._count = count
        self._images: tuple[torch.Tensor, ...] = ()
        self._past = Past(count)

    @property
    def size(self) -> InputSize | None:
        """Of the model's input, of a model that says it."""
        return size_of(self._model)

    @property
    def network(self) -> object:
        """Of the model; for what runs it, see ``coarse.engines.assign.engine_of``."""
        return getattr(self._model, "network", None)

    @property
    def remembered(self) -> int:
        """Frames that are in the window."""
        return self._past.count

    def forget(self) -> None:
        """Begin the window anew with the next frame."""
        self._images = ()
        self._past.forget()

    def for_another_stream(self) -> ViewWindow:
        """A window of its own on the same model."""
        return ViewWindow(self._model, self._count)

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> WindowPrediction:
        """See ``CoarseModel.predict``. A frame enters the window when the model has answered it."""
        place = self._past.place(hints.stamp_ns, image.shape)
        before = {"next": self._images, "again": self._images[1:], "late": self._images[1:]}.get(place, ())
        images = (image.clone(), *before)[: self._count]  # the upload's buffer is written again
        answer = newest_view(self._model, images)
        self._past.answered(place, hints.stamp_ns, image.shape)
        if place in ("first", "next", "again"):
            self._images = images
        newest = answer.prediction
        return WindowPrediction(
            newest.depth,
            newest.features,
            newest.sky,
            newest.normals,
            newest.unknown,
            images=images,
            cameras_from_world=answer.cameras_from_world,
            views=answer.views,
        )


def windowed(model: CoarseModel, count: int) -> CoarseModel:
    """The model, of ``count`` frames at once. Raises ModelError where more than one is asked of a model that takes one."""
    if count == 1:
        return model
    if not isinstance(model, MultiViewModel):
        raise ModelError(one_at_a_time(model.name))
    return ViewWindow(model, count)


def one_at_a_time(model: str) -> str:
    """Why a model of one view has no window, and what to do."""
    return f"{model} sees one image at a time: leave views at 1, or choose a model of several, such as vggt"
