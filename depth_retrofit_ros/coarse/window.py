"""The newest frames of a stream as views of one scene: a model of several views answers each frame with those before it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.views import CoarseView, MultiViewModel
from depth_retrofit_ros.errors import ModelError

LONGEST_GAP_NS = 5_000_000_000


@dataclass(frozen=True, slots=True)
class WindowPrediction(CoarsePrediction):
    """The newest frame's prediction, with all of the window: images ``uint8 [H, W, 3]`` and views, the newest first."""

    images: tuple[torch.Tensor, ...] = ()
    views: tuple[CoarseView, ...] = ()


class ViewWindow:
    """``CoarseModel``. count: frames in the window, the newest among them.

    It begins anew where images change their size, and where a frame is not later than the one before it (a bag that starts again),
    or so much later that it may show another place.
    """

    def __init__(self, model: MultiViewModel, count: int) -> None:
        self.name, self.claim, self.device = model.name, model.claim, model.device
        self._model = model
        self._images: deque[torch.Tensor] = deque(maxlen=count)
        self._stamp_ns: int | None = None

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> WindowPrediction:
        """See ``CoarseModel.predict``."""
        stamp_ns, before = hints.stamp_ns, self._stamp_ns
        if stamp_ns is not None and before is not None and not 0 < stamp_ns - before <= LONGEST_GAP_NS:
            self._images.clear()
        if self._images and self._images[0].shape != image.shape:
            self._images.clear()
        self._stamp_ns = stamp_ns
        self._images.appendleft(image.clone())  # the upload's buffer is written again
        images = tuple(self._images)
        views = tuple(self._model.predict_views(images))
        newest = views[0].prediction
        return WindowPrediction(newest.depth, newest.features, newest.sky, newest.normals, images=images, views=views)


def windowed(model: CoarseModel, count: int) -> CoarseModel:
    """The model, of ``count`` frames at once. Raises ModelError where more than one is asked of a model that takes one."""
    if count == 1:
        return model
    if not isinstance(model, MultiViewModel):
        raise ModelError(f"{model.name} sees one image at a time: leave views at 1, or choose a model of several, such as vggt")
    return ViewWindow(model, count)
