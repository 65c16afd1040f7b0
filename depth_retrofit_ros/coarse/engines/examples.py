"""What a network is given when its model sees a picture of the bundled film: programs are held to that, whatever comes first."""

from __future__ import annotations

import copy
from typing import NoReturn

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.base import Tensors
from depth_retrofit_ros.coarse.engines.natural_image import VIEWS, natural_image

USUAL_HFOV_DEG = 70.0  # of the camera for models that take a focal length


class _Given(Exception):  # noqa: N818: it ends a call, and is no error
    """inputs: what the network was called with."""

    def __init__(self, inputs: Tensors) -> None:
        super().__init__()
        self.inputs = inputs


def _tell(*inputs: Tensor) -> NoReturn:
    raise _Given(tuple(tensor.clone() for tensor in inputs))


class Examples:
    """Inputs of a model's network. model: it is copied without its network; one with a memory must not change it before it calls
    the network."""

    def __init__(self, model: CoarseModel) -> None:
        self._model = copy.copy(model)
        self._model.network = _tell  # type: ignore[attr-defined]

    def like(self, inputs: Tensors) -> list[Tensors]:
        """Of each of ``VIEWS``, inputs of the shapes and dtypes of these; these alone where the model makes others of a picture,
        as one does that needs more than a picture and a camera."""
        found = [self._of(view, inputs) for view in VIEWS]
        return [made for made in found if made is not None] or [inputs]

    def _of(self, view: int, inputs: Tensors) -> Tensors | None:
        maps = [tensor for tensor in inputs if tensor.dim() >= 4]
        if not maps:
            return None
        height, width = maps[0].shape[-2:]
        image = natural_image(height, width, view).to(inputs[0].device)
        try:
            self._model.predict(image, Camera.from_hfov(width, height, USUAL_HFOV_DEG))
        except _Given as given:
            made = given.inputs
        except Exception:  # a model that wants hints, or another frame, has what the user's frame makes of it
            return None
        else:
            return None
        return made if _kind(made) == _kind(inputs) else None


def _kind(inputs: Tensors) -> list[tuple[torch.Size, torch.dtype]]:
    return [(tensor.shape, tensor.dtype) for tensor in inputs]
